/**
 * HKDF-SHA256 and the AEADs on node:crypto, behind the interfaces of the package `hpke`. Keys of ciphers are always wrapped as
 * `KeyObject`: given raw bytes, Node 24 and later spend several times as long on every cipher. @module
 */
import { createCipheriv, createDecipheriv, createSecretKey, hash, type KeyObject } from 'node:crypto'
import type { AEAD, KDF } from 'hpke'
import { concatBytes } from '#protocol/bytes.ts'
import {
  AEAD_AES_128_GCM,
  AEAD_CHACHA20_POLY1305,
  KDF_HKDF_SHA256,
  type ResponseCipher,
} from '#protocol/sealing/suite.ts'

const HASH_BYTES = 32
const HASH_BLOCK_BYTES = 64
const TAG_BYTES = 16
const NONCE_BYTES = 12
const ZERO_SALT = new Uint8Array(HASH_BYTES)

/** HKDF-SHA256 (RFC 5869). */
export function nodeHkdfSha256(): KDF {
  return {
    id: KDF_HKDF_SHA256,
    type: 'KDF',
    name: 'HKDF-SHA256',
    Nh: HASH_BYTES,
    stages: 2,
    // RFC 5869 section 2.2: no salt means as many zeros as the hash has bytes.
    Extract: async (salt, ikm) => hmac(salt.length === 0 ? ZERO_SALT : salt, [ikm]),
    Expand: async (prk, info, L) => hkdfExpand(prk, info, L),
    Derive: async () => {
      throw new Error('HKDF is a KDF of two stages')
    },
  }
}

export function nodeAes128Gcm(): AEAD {
  return hpkeAead(AEAD_AES_128_GCM, 'AES-128-GCM', 16)
}

export function nodeChaCha20Poly1305(): AEAD {
  return hpkeAead(AEAD_CHACHA20_POLY1305, 'ChaCha20Poly1305', 32)
}

/** The AEAD under one key, synchronous. Throws when `aeadId` is neither of the two. */
export function nodeCipher(aeadId: number, key: Uint8Array): ResponseCipher<Uint8Array> {
  const keyObject = createSecretKey(key)
  if (aeadId === AEAD_AES_128_GCM) {
    return {
      seal: (nonce, aad, plaintext, prefix) => seal('aes-128-gcm', keyObject, nonce, aad, plaintext, prefix),
      open: (nonce, aad, ciphertext) => open('aes-128-gcm', keyObject, nonce, aad, ciphertext),
    }
  }
  if (aeadId === AEAD_CHACHA20_POLY1305) {
    return {
      seal: (nonce, aad, plaintext, prefix) => seal('chacha20-poly1305', keyObject, nonce, aad, plaintext, prefix),
      open: (nonce, aad, ciphertext) => open('chacha20-poly1305', keyObject, nonce, aad, ciphertext),
    }
  }
  throw new RangeError('expected AES-128-GCM or ChaCha20-Poly1305')
}

function hpkeAead(id: number, name: string, Nk: number): AEAD {
  const empty = new Uint8Array()
  return {
    id,
    type: 'AEAD',
    name,
    Nk,
    Nn: NONCE_BYTES,
    Nt: TAG_BYTES,
    Seal: async (key, nonce, aad, plaintext) => nodeCipher(id, key).seal(nonce, aad, plaintext, empty),
    Open: async (key, nonce, aad, ciphertext) => nodeCipher(id, key).open(nonce, aad, ciphertext),
  }
}

type CipherName = 'aes-128-gcm' | 'chacha20-poly1305'

function seal(
  name: CipherName,
  key: KeyObject,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
  prefix: Uint8Array,
): Uint8Array {
  // Both are stream ciphers, so `final` never adds bytes. The types differ by name only: Node treats them alike.
  const cipher = createCipheriv(name as 'aes-128-gcm', key, nonce, { authTagLength: TAG_BYTES })
  if (aad.length > 0) cipher.setAAD(aad)
  const sealed = new Uint8Array(prefix.length + plaintext.length + TAG_BYTES)
  sealed.set(prefix)
  sealed.set(cipher.update(plaintext), prefix.length)
  cipher.final()
  sealed.set(cipher.getAuthTag(), prefix.length + plaintext.length)
  return sealed
}

function open(
  name: CipherName,
  key: KeyObject,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  const tagOffset = ciphertext.length - TAG_BYTES
  if (tagOffset < 0) throw new RangeError('expected a ciphertext with its tag')
  const decipher = createDecipheriv(name as 'aes-128-gcm', key, nonce, { authTagLength: TAG_BYTES })
  if (aad.length > 0) decipher.setAAD(aad)
  decipher.setAuthTag(ciphertext.subarray(tagOffset))
  const plaintext = decipher.update(ciphertext.subarray(0, tagOffset))
  decipher.final()
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength)
}

/** HMAC-SHA256 (RFC 2104) by hashes made at one go: a third of the time of an `Hmac` and the `KeyObject` that it wants. */
function hmac(key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const short = key.length > HASH_BLOCK_BYTES ? hash('sha256', key, 'buffer') : key
  const digest = hashPadded(short, 0x5c, [hashPadded(short, 0x36, parts)])
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength)
}

/** The hash of `parts` behind a block of `pad`, with the key upon it. */
function hashPadded(key: Uint8Array, pad: number, parts: readonly Uint8Array[]): Uint8Array {
  const block = new Uint8Array(HASH_BLOCK_BYTES).fill(pad)
  for (let i = 0; i < key.length; i++) block[i] = pad ^ (key[i] ?? 0)
  const message = concatBytes(block, ...parts)
  const digest = hash('sha256', message, 'buffer')
  block.fill(0)
  message.fill(0)
  return digest
}

function hkdfExpand(prk: Uint8Array, info: Uint8Array, lengthBytes: number): Uint8Array {
  const expanded = new Uint8Array(lengthBytes)
  let block: Uint8Array = new Uint8Array()
  for (let i = 1, offset = 0; offset < lengthBytes; i++, offset += HASH_BYTES) {
    block = hmac(prk, [block, info, Uint8Array.of(i)])
    expanded.set(block.subarray(0, lengthBytes - offset), offset)
  }
  return expanded
}
