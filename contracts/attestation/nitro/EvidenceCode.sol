// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// Why evidence is refused: the codes of offchain/protocol/evidence/evidenceError.ts, spelt the same, so that a refusal on chain and one in
/// a client can be compared. Codes of the relying party's policy are missing here: that policy is the registry's.
enum EvidenceCode {
    NONE,
    CBOR_TRUNCATED,
    CBOR_TYPE,
    CBOR_NOT_MINIMAL,
    CBOR_INTEGER_RANGE,
    CBOR_TEXT,
    CBOR_DUPLICATE_KEY,
    CBOR_DEPTH,
    CBOR_ENTRIES,
    CBOR_TRAILING_BYTES,
    DER_TRUNCATED,
    DER_TAG,
    DER_LENGTH,
    DER_VALUE,
    DER_TRAILING_BYTES,
    CERTIFICATE_VERSION,
    CERTIFICATE_SERIAL,
    CERTIFICATE_ALGORITHM,
    CERTIFICATE_DATE,
    CERTIFICATE_KEY,
    CERTIFICATE_SIGNATURE_FORMAT,
    CERTIFICATE_EXTENSION,
    CERTIFICATE_EXTENSION_DUPLICATE,
    CERTIFICATE_EXTENSION_CRITICAL,
    DOCUMENT_SIZE,
    COSE_STRUCTURE,
    COSE_ALGORITHM,
    COSE_HEADER,
    COSE_SIGNATURE_LENGTH,
    FIELD_MISSING,
    FIELD_VALUE,
    FIELD_LENGTH,
    PCR_INDEX,
    PCR_LENGTH,
    PCR_MISSING,
    BUNDLE_LENGTH,
    ROOT_NOT_PINNED,
    CHAIN_NAME,
    CHAIN_NOT_CA,
    CHAIN_KEY_USAGE,
    CHAIN_PATH_LENGTH,
    LEAF_IS_CA,
    LEAF_KEY_USAGE,
    BAD_CHAIN_SIGNATURE,
    BAD_DOCUMENT_SIGNATURE,
    CERTIFICATE_NOT_YET_VALID,
    CERTIFICATE_EXPIRED,
    CERTIFICATE_REVOKED,
    DEBUG_MODE,
    USER_DATA_MISMATCH,
    HINTS_LENGTH
}

/// The one way in which evidence is refused.
error EvidenceRefused(EvidenceCode code);

/// Requires `condition`, or refuses with `code`.
function check(bool condition, EvidenceCode code) pure {
    if (!condition) revert EvidenceRefused(code);
}
