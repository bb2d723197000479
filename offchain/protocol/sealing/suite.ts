/**
 * The cryptography that the sealing codecs need, as an interface with three back ends: WebCrypto and noble
 * (`webSuites.ts`), node:crypto (`nodeSuites.ts` in `offchain/node/sealing`). Identifiers: the HPKE registries of
 * RFC 9180 section 7 and draft-ietf-hpke-pq. @module
 */
import type { KeyPair } from 'hpke'

export const KEM_X25519 = 0x0020
/** ML-KEM-768 with X25519 (draft-connolly-cfrg-xwing-kem). */
export const KEM_X_WING = 0x647a
export const KDF_HKDF_SHA256 = 0x0001
export const AEAD_AES_128_GCM = 0x0001
export const AEAD_CHACHA20_POLY1305 = 0x0003

/** Bytes of a public key by KEM; a KEM that is absent is unknown here. */
export const PUBLIC_KEY_BYTES: ReadonlyMap<number, number> = new Map([
  [KEM_X25519, 32],
  [KEM_X_WING, 1216],
])

export type MaybePromise<T> = T | Promise<T>

/** What a back end's AEAD returns: bytes at once (node:crypto) or a promise (WebCrypto). */
export type MaybeBytes = MaybePromise<Uint8Array>

export interface SealingSuites<Result extends MaybeBytes = MaybeBytes> {
  /** The implementation of one suite; undefined where the back end has none. */
  get(kemId: number, kdfId: number, aeadId: number): MaybePromise<SealingSuite<Result> | undefined>
  /** A fresh key pair for a gateway. Throws `OhttpError` (`UNSUPPORTED_SUITE`). */
  generateKeyPair(kemId: number): Promise<SealingKeyPair>
  /** The pair of a private key (32 bytes; for X-Wing the seed) and its public key. Throws `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
  importKeyPair(kemId: number, privateKey: Uint8Array, publicKey: Uint8Array): Promise<SealingKeyPair>
}

/** A key pair of one back end. The private key cannot be read out. */
export interface SealingKeyPair {
  readonly kemId: number
  readonly publicKey: Uint8Array
  /** For the back end that made it, and no other. */
  readonly handle: KeyPair
}

/** One KEM, KDF and AEAD. Names and lengths (bytes) are those of RFC 9180 section 4. */
export interface SealingSuite<Result extends MaybeBytes = MaybeBytes> {
  readonly kemId: number
  readonly kdfId: number
  readonly aeadId: number
  readonly Nenc: number
  readonly Nk: number
  readonly Nn: number
  readonly Nt: number
  /** HPKE SetupBaseS (RFC 9180 section 5.1.1) with a fresh ephemeral key. */
  setupSender(publicKey: Uint8Array, info: Uint8Array): Promise<SenderSession>
  /** HPKE SetupBaseR. Rejects when `enc` cannot be decapsulated. */
  setupRecipient(key: SealingKeyPair, enc: Uint8Array, info: Uint8Array): Promise<RecipientSession>
  /** KDF Extract and Expand of the response keys (RFC 9458 section 4.4). */
  extract(salt: Uint8Array, ikm: Uint8Array): MaybeBytes
  expand(prk: Uint8Array, info: Uint8Array, lengthBytes: number): MaybeBytes
  /** The AEAD under one response key. */
  cipher(key: Uint8Array): ResponseCipher<Result>
}

export interface SenderSession {
  readonly enc: Uint8Array
  seal(plaintext: Uint8Array, aad: Uint8Array): Promise<Uint8Array>
  export(context: Uint8Array, lengthBytes: number): Promise<Uint8Array>
}

export interface RecipientSession {
  open(ciphertext: Uint8Array, aad: Uint8Array): Promise<Uint8Array>
  export(context: Uint8Array, lengthBytes: number): Promise<Uint8Array>
}

export interface ResponseCipher<Result extends MaybeBytes = MaybeBytes> {
  /** `prefix` and behind it ciphertext and tag, in one new array: what a stream writes at once. */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, prefix: Uint8Array): Result
  /** Throws or rejects when the tag is wrong. */
  open(nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Result
}

/** Fills a new array with `lengthBytes` random bytes. */
export type RandomBytes = (lengthBytes: number) => Uint8Array
