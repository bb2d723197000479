/** What verifying one secp256k1 signature for each leaf costs, with three libraries: what a log saves whose root is signed once. @module */
import { createPublicKey, verify as verifyByOpenssl } from 'node:crypto'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import * as tinySecp from 'tiny-secp256k1'
import { keccak256 } from '#protocol/hash.ts'
import { type Other, summarize, timesMs } from '../row.ts'

const RUNS = 5
/** Signatures in each run; the first so many leaves are signed. */
const SIGNATURES = 300

/** Leaves a second on one core, by library. Every signature is over a leaf of its own, 32 bytes, by one key. */
export async function measureSignatures(leaves: Uint8Array): Promise<Other[]> {
  const privateKey = keccak256(leaves.subarray(0, 32))
  const publicKey = secp256k1.getPublicKey(privateKey)
  const signed = Array.from({ length: SIGNATURES }, (_, i) => {
    const leaf = leaves.slice(32 * i, 32 * (i + 1))
    return { leaf, signature: secp256k1.sign(leaf, privateKey, { prehash: false }) }
  })
  const key = createPublicKey({ key: toJwk(privateKey), format: 'jwk' })
  // OpenSSL hashes by itself: for it the same key signs the leaf's SHA-256.
  const signedForOpenssl = signed.map(({ leaf }) => ({ leaf, signature: secp256k1.sign(leaf, privateKey) }))
  return [
    await rateOf('one signature each, noble', () =>
      signed.every(({ leaf, signature }) => secp256k1.verify(signature, leaf, publicKey, { prehash: false })),
    ),
    await rateOf('tiny-secp256k1', () =>
      signed.every(({ leaf, signature }) => tinySecp.verify(leaf, publicKey, signature, true)),
    ),
    await rateOf("OpenSSL, Node's own,", () =>
      signedForOpenssl.every(({ leaf, signature }) =>
        verifyByOpenssl('sha256', leaf, { key, dsaEncoding: 'ieee-p1363' }, signature),
      ),
    ),
  ]
}

async function rateOf(name: string, verifyAll: () => boolean): Promise<Other> {
  const times = await timesMs(RUNS, () => {
    if (!verifyAll()) throw new Error(`${name} refuses a signature`)
  })
  return { name, value: summarize(times.map((ms) => (1000 * SIGNATURES) / ms)).value, unit: '1/s' }
}

function toJwk(privateKey: Uint8Array): Readonly<Record<string, string>> {
  const point = secp256k1.getPublicKey(privateKey, false)
  const coordinate = (from: number) => Buffer.from(point.subarray(from, from + 32)).toString('base64url')
  return { kty: 'EC', crv: 'secp256k1', x: coordinate(1), y: coordinate(33) }
}
