/**
 * A wallet's seed and state, encrypted at rest: scrypt (RFC 7914) over the passphrase, AES-256-GCM over the text. Everything that could be
 * changed is authenticated.
 * @module
 */
import { scryptAsync } from '@noble/hashes/scrypt.js'
import * as v from 'valibot'
import { decodeUtf8, encodeUtf8, toBase64 } from '#protocol/bytes.ts'
import { base64Of, parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import { randomBytes } from './walletKeys.ts'

/** Cost: 32 MiB and about 100 ms. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, dkLen: 32 } as const
const SALT_BYTES = 16
const NONCE_BYTES = 12
/** Of the encrypted text, with its tag. */
const FILE_BYTES_MAX = 67_108_864
const TAG_BYTES = 16

type EncryptedFile = {
  readonly format: 'sealpath-wallet-file/1'
  readonly salt: Uint8Array
  readonly nonce: Uint8Array
  readonly text: Uint8Array
}

const EncryptedFileSchema: Schema<EncryptedFile> = v.object({
  format: v.literal('sealpath-wallet-file/1'),
  salt: base64Of(SALT_BYTES),
  nonce: base64Of(NONCE_BYTES),
  text: base64Of(FILE_BYTES_MAX),
})

/** Encrypts and decrypts under one passphrase; the key is derived once. */
export type WalletCipher = {
  /** Throws `WalletFileError` for a text that could not be read again. */
  encrypt(text: string): Promise<string>
  /** Throws `WalletFileError` for a wrong passphrase or a file that was changed, and for one that this cipher was not opened for. */
  decrypt(file: string): Promise<string>
}

export class WalletFileError extends Error {
  override readonly name = 'WalletFileError'
  readonly code: 'WRONG_PASSPHRASE' | 'OTHER_FILE' | 'TOO_LARGE'
  constructor(code: WalletFileError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** For a new file, or for `file` as it was written before. Throws `WireError` for a file that is none. */
export async function openWalletCipher(passphrase: string, file?: string): Promise<WalletCipher> {
  const salt = file === undefined ? randomBytes(SALT_BYTES) : parseFile(file).salt
  const raw = await scryptAsync(encodeUtf8(passphrase.normalize('NFKC')), salt, SCRYPT)
  const key = await crypto.subtle.importKey('raw', new Uint8Array(raw), 'AES-GCM', false, ['encrypt', 'decrypt'])
  return {
    async encrypt(text) {
      const bytes = new Uint8Array(encodeUtf8(text))
      if (bytes.length + TAG_BYTES > FILE_BYTES_MAX) {
        throw new WalletFileError(
          'TOO_LARGE',
          `a wallet file holds at most ${FILE_BYTES_MAX} bytes, got ${bytes.length}`,
        )
      }
      const nonce = randomBytes(NONCE_BYTES)
      const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: nonce }, key, bytes)
      const encrypted = { salt: toBase64(salt), nonce: toBase64(nonce), text: toBase64(new Uint8Array(sealed)) }
      return toJson({ format: 'sealpath-wallet-file/1', ...encrypted })
    },
    async decrypt(written) {
      const { salt: theirs, nonce, text } = parseFile(written)
      if (toBase64(theirs) !== toBase64(salt)) throw new WalletFileError('OTHER_FILE', 'the file has another salt')
      try {
        const iv = new Uint8Array(nonce)
        return decodeUtf8(
          new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, new Uint8Array(text))),
        )
      } catch (cause) {
        throw new WalletFileError('WRONG_PASSPHRASE', 'the passphrase is wrong, or the file was changed', { cause })
      }
    },
  }
}

function parseFile(file: string): EncryptedFile {
  return parseJson(EncryptedFileSchema, file, 'wallet file')
}
