/** Secrets from a seed: the same every time, and different wherever anything differs. @module */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { privateKeyToAddress } from 'viem/accounts'
import { expect, it } from 'vitest'
import { concatBytes, decodeUint, encodeUint, encodeUtf8, fromHex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { blindMessage, signBlinded, unblindSignature, verifyWithSecretKey } from './blindSignature.ts'
import { deriveCredit } from './derivation.ts'
import { creditMessage } from './message.ts'
import { encodeG1, GROUP_ORDER } from './points.ts'

const seed = keccak256(encodeUtf8('seed'))
const keyset = toHex(keccak256(encodeUtf8('keyset')))

it('derives the same secrets from the same place', () => {
  expect(deriveCredit(seed, 'change', keyset, 7)).toEqual(deriveCredit(seed.slice(), 'change', keyset, 7))
})

it('derives what RFC 5869 says, computed here by HMAC of WebCrypto', async () => {
  const info = concatBytes(
    encodeUtf8('secret'),
    Uint8Array.of(0),
    encodeUtf8('purchase'),
    Uint8Array.of(0),
    fromHex(keyset),
    encodeUint(258n, 8),
  )
  const key = await crypto.subtle.importKey('raw', new Uint8Array(seed), 'HKDF', false, ['deriveBits'])
  const algorithm = { name: 'HKDF', hash: 'SHA-256', salt: encodeUtf8('sealpath credits v1'), info }
  const bits = await crypto.subtle.deriveBits(algorithm, key, 256)
  expect(deriveCredit(seed, 'purchase', keyset, 258).secret).toEqual(new Uint8Array(bits))
})

it('derives other secrets when seed, path, keyset or counter differs, and never one value twice', () => {
  const derived = [
    deriveCredit(seed, 'purchase', keyset, 0),
    deriveCredit(seed, 'change', keyset, 0),
    deriveCredit(seed, 'purchase', keyset, 1),
    deriveCredit(seed, 'purchase', keyset, 2 ** 32),
    deriveCredit(seed, 'purchase', keyset, Number.MAX_SAFE_INTEGER),
    deriveCredit(keccak256(seed), 'purchase', keyset, 0),
    deriveCredit(seed, 'purchase', toHex(keccak256(fromHex(keyset))), 0),
  ]
  const values = derived.flatMap(({ secret, exitPrivateKey, exitKey, blinding }) => [
    toHex(secret),
    toHex(exitPrivateKey),
    exitKey,
    blinding.toString(16),
  ])
  expect(new Set(values).size).toBe(values.length)
})

it('derives scalars in range and the address of the exit key', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(), (anySeed, counter) => {
      const { secret, exitPrivateKey, exitKey, blinding } = deriveCredit(anySeed, 'change', keyset, counter)
      expect(secret).toHaveLength(32)
      expect(secp256k1.utils.isValidSecretKey(exitPrivateKey)).toBe(true)
      expect(exitKey).toBe(privateKeyToAddress(toHex(exitPrivateKey)))
      expect(decodeUint(exitPrivateKey) > 0n && blinding > 0n && blinding < GROUP_ORDER).toBe(true)
    }),
    { numRuns: 20, seed: 4 },
  )
})

it('gives blanks that any of the keys may sign', () => {
  const { secret, exitKey, blinding } = deriveCredit(seed, 'change', keyset, 0)
  const message = creditMessage({ chainId: 1, vault: exitKey, keyset }, exitKey, secret)
  const blinded = blindMessage(message, blinding)
  for (const secretKey of [3n, 5n]) {
    const signature = unblindSignature(signBlinded(blinded, secretKey), blinding)
    expect(verifyWithSecretKey(message, encodeG1(signature), secretKey)).toBe(true)
  }
})

it('refuses a seed of another length and a counter that is none', () => {
  expect(() => deriveCredit(seed.subarray(1), 'change', keyset, 0)).toThrow(RangeError)
  for (const counter of [-1, 0.5, Number.NaN, 2 ** 53]) {
    expect(() => deriveCredit(seed, 'change', keyset, counter)).toThrow(
      expect.objectContaining({ name: 'CreditError', code: 'BAD_COUNTER' }),
    )
  }
})
