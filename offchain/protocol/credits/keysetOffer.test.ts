/** An issuer's word for its keyset's keys. @module */
import { TypedDataEncoder, Wallet } from 'ethers'
import { expect, it } from 'vitest'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { enclaveOfKey } from '../receipt/head.ts'
import { hashKeysetOffer, isKeysetOffered, KEYSET_OFFER_TYPES, signKeysetOffer } from './keysetOffer.ts'

const KEY = new Uint8Array(32).fill(0x51)
const OFFER = { keyset: `0x${'4b'.repeat(32)}`, writer: enclaveOfKey(KEY) } as const
const DOMAIN = { chainId: 8_453, vault: `0x${'7a'.repeat(20)}` } as const

it('hashes as ethers does', () => {
  const domain = { name: 'Sealpath CreditVault', version: '1', chainId: 8_453, verifyingContract: DOMAIN.vault }
  const types = { KeysetOffer: [...KEYSET_OFFER_TYPES.KeysetOffer] }
  expect(hashKeysetOffer(OFFER, DOMAIN)).toBe(TypedDataEncoder.hash(domain, types, OFFER))
})

it('holds for the enclave that signed it, and for nothing else', () => {
  const signature = signKeysetOffer(OFFER, DOMAIN, KEY)
  expect(isKeysetOffered(OFFER, DOMAIN, signature)).toBe(true)
  expect(isKeysetOffered({ ...OFFER, keyset: `0x${'4c'.repeat(32)}` }, DOMAIN, signature)).toBe(false)
  expect(isKeysetOffered({ ...OFFER, writer: Wallet.createRandom().address as Hex }, DOMAIN, signature)).toBe(false)
  expect(isKeysetOffered(OFFER, { ...DOMAIN, chainId: 1 }, signature)).toBe(false)
  expect(isKeysetOffered(OFFER, { ...DOMAIN, vault: `0x${'7b'.repeat(20)}` }, signature)).toBe(false)
  for (let bit = 0; bit < 256; bit++) {
    const bytes = fromHex(signature.r, 32)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    const r: Hex = `0x${Buffer.from(bytes).toString('hex')}`
    expect(isKeysetOffered(OFFER, DOMAIN, { ...signature, r })).toBe(false)
  }
})
