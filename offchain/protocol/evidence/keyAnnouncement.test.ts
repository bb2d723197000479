import { expect, it } from 'vitest'
import { encodeUtf8, type Hex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { enclaveOfKey, expandSignature, signDigest } from '../receipt/head.ts'
import { bindsKeyConfigs, hashKeyAnnouncement } from './keyAnnouncement.ts'

const DOMAIN = { chainId: 31_337, registry: `0x${'5e'.repeat(20)}` } as const
const KEY = new Uint8Array(32).fill(1)
const ENCLAVE = enclaveOfKey(KEY)
const FIRST = encodeUtf8('the keys it was born with')
const LATER = encodeUtf8('later keys')
const STATEMENT = { enclave: ENCLAVE, keyConfigs: hashOf(FIRST) }

function hashOf(document: Uint8Array): Hex {
  return toHex(keccak256(document))
}

function announce(document: Uint8Array, key = KEY, registry: Hex = DOMAIN.registry) {
  const hash = hashOf(document)
  const digest = hashKeyAnnouncement({ enclave: ENCLAVE, hash }, { ...DOMAIN, registry })
  return { hash, signature: expandSignature(signDigest(digest, key)) }
}

it('key configurations are the enclave’s if its evidence names them or its key announced them', () => {
  expect(bindsKeyConfigs(STATEMENT, undefined, FIRST, DOMAIN)).toBe(true)
  expect(bindsKeyConfigs(STATEMENT, announce(LATER), FIRST, DOMAIN)).toBe(true)
  expect(bindsKeyConfigs(STATEMENT, announce(LATER), LATER, DOMAIN)).toBe(true)
  const lower = { ...STATEMENT, enclave: ENCLAVE.toLowerCase() as Hex }
  expect(bindsKeyConfigs(lower, announce(LATER), LATER, DOMAIN)).toBe(true)
})

it.each([
  ['nothing', undefined],
  ['other keys', announce(FIRST)],
  ['these keys under the hash of others', { ...announce(LATER), hash: hashOf(FIRST) }],
  ['other keys under the hash of these', { ...announce(FIRST), hash: hashOf(LATER) }],
  ['another enclave', announce(LATER, new Uint8Array(32).fill(2))],
  ['an enclave of another registry', announce(LATER, KEY, `0x${'5f'.repeat(20)}`)],
  [
    'nobody: v is neither 27 nor 28',
    { ...announce(LATER), signature: `${announce(LATER).signature.slice(0, -2)}1d` as Hex },
  ],
  ['nobody: the signature is zero', { ...announce(LATER), signature: `0x${'00'.repeat(65)}` as Hex }],
])('they are not if what is announced is by or of %s', (_, announcement) => {
  expect(bindsKeyConfigs(STATEMENT, announcement, LATER, DOMAIN)).toBe(false)
})
