/** Why evidence is refused: one code per reason, shared by the parsers and the verifier. @module */

/** Evidence that is not well formed. Thrown by the parsers; `verifyNitroEvidence` turns it into a verdict. */
export class EvidenceError extends Error {
  override readonly name = 'EvidenceError'
  readonly code: EvidenceFormatCode
  constructor(code: EvidenceFormatCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Reasons why bytes are not a document or a certificate at all. */
export type EvidenceFormatCode =
  | 'CBOR_TRUNCATED'
  | 'CBOR_TYPE'
  | 'CBOR_NOT_MINIMAL'
  | 'CBOR_INTEGER_RANGE'
  | 'CBOR_TEXT'
  | 'CBOR_DUPLICATE_KEY'
  | 'CBOR_DEPTH'
  | 'CBOR_ENTRIES'
  | 'CBOR_TRAILING_BYTES'
  | 'DER_TRUNCATED'
  | 'DER_TAG'
  | 'DER_LENGTH'
  | 'DER_VALUE'
  | 'DER_TRAILING_BYTES'
  | 'CERTIFICATE_VERSION'
  | 'CERTIFICATE_SERIAL'
  | 'CERTIFICATE_ALGORITHM'
  | 'CERTIFICATE_DATE'
  | 'CERTIFICATE_KEY'
  | 'CERTIFICATE_SIGNATURE_FORMAT'
  | 'CERTIFICATE_EXTENSION'
  | 'CERTIFICATE_EXTENSION_DUPLICATE'
  | 'CERTIFICATE_EXTENSION_CRITICAL'
  | 'DOCUMENT_SIZE'
  | 'COSE_STRUCTURE'
  | 'COSE_ALGORITHM'
  | 'COSE_HEADER'
  | 'COSE_SIGNATURE_LENGTH'
  | 'FIELD_MISSING'
  | 'FIELD_VALUE'
  | 'FIELD_LENGTH'
  | 'PCR_INDEX'
  | 'PCR_LENGTH'
  | 'PCR_MISSING'
  | 'BUNDLE_LENGTH'

/** Reasons why a well-formed document is not accepted. */
export type EvidenceRefusalCode =
  | 'ROOT_NOT_PINNED'
  | 'CHAIN_NAME'
  | 'CHAIN_NOT_CA'
  | 'CHAIN_KEY_USAGE'
  | 'CHAIN_PATH_LENGTH'
  | 'LEAF_IS_CA'
  | 'LEAF_KEY_USAGE'
  | 'BAD_CHAIN_SIGNATURE'
  | 'BAD_DOCUMENT_SIGNATURE'
  | 'CERTIFICATE_NOT_YET_VALID'
  | 'CERTIFICATE_EXPIRED'
  | 'ISSUED_IN_FUTURE'
  | 'TOO_OLD'
  | 'DEBUG_MODE'
  | 'USER_DATA_MISMATCH'
  | 'NONCE_MISMATCH'
  | 'MEASUREMENT_NOT_ACCEPTED'

/** Every reason a verdict can carry. Stable once released. */
export type EvidenceCode = EvidenceFormatCode | EvidenceRefusalCode
