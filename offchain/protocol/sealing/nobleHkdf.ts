/** HKDF-SHA256 (RFC 5869) behind the interface of the package `hpke`, in JavaScript. @module */
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { KDF } from 'hpke'
import { KDF_HKDF_SHA256 } from './suite.ts'

/**
 * Faster than WebCrypto for inputs of this size: there each of the twenty hashes of an exchange is a way to another thread and back, which costs several
 * times the hash itself, and far more while the machine is busy.
 */
export function nobleHkdfSha256(): KDF {
  return {
    id: KDF_HKDF_SHA256,
    type: 'KDF',
    name: 'HKDF-SHA256',
    Nh: sha256.outputLen,
    stages: 2,
    Extract: async (salt, ikm) => extract(sha256, ikm, salt),
    Expand: async (prk, info, L) => expand(sha256, prk, info, L),
    Derive: async () => {
      throw new Error('HKDF is a KDF of two stages')
    },
  }
}
