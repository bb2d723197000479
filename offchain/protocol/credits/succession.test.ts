/** Successions: one digest, another implementation's opinion of it, and who signed. The vault's opinion: test/integration/issuerTakeOver.test.ts. @module */
import { TypedDataEncoder } from 'ethers'
import { expect, it } from 'vitest'
import type { Hex } from '../bytes.ts'
import { enclaveOfKey } from '../receipt/head.ts'
import { hashSuccession, isSuccessionBy, SUCCESSION_TYPES, signSuccession } from './succession.ts'

const DOMAIN = { chainId: 31_337, vault: `0x${'7a'.repeat(20)}` } as const
const SUCCESSION = { keyset: `0x${'5e'.repeat(32)}`, successor: `0x${'0e'.repeat(20)}` } as const
const KEY = new Uint8Array(32).fill(1)
const WRITER = enclaveOfKey(KEY)

it('has the digest that ethers computes', () => {
  const { chainId, vault: verifyingContract } = DOMAIN
  const domain = { name: 'Sealpath CreditVault', version: '1', chainId, verifyingContract }
  const types = { Succession: [...SUCCESSION_TYPES.Succession] }
  expect(hashSuccession(SUCCESSION, DOMAIN)).toBe(TypedDataEncoder.hash(domain, types, SUCCESSION))
})

it('is its writer’s for this keyset, this successor and this vault, and nobody else’s', () => {
  const signature = signSuccession(SUCCESSION, DOMAIN, KEY)
  const isBy = (writer: Hex, changes: Partial<typeof SUCCESSION & typeof DOMAIN> | Record<string, unknown> = {}) => {
    const { keyset, successor, chainId, vault } = { ...SUCCESSION, ...DOMAIN, ...changes } as {
      keyset: Hex
      successor: Hex
      chainId: number
      vault: Hex
    }
    return isSuccessionBy(writer, { keyset, successor }, { chainId, vault }, signature)
  }
  expect(isBy(WRITER)).toBe(true)
  expect(isBy(WRITER.toLowerCase() as Hex)).toBe(true)
  expect(isBy(SUCCESSION.successor)).toBe(false)
  expect(isBy(WRITER, { keyset: `0x${'5f'.repeat(32)}` })).toBe(false)
  expect(isBy(WRITER, { successor: `0x${'0f'.repeat(20)}` })).toBe(false)
  expect(isBy(WRITER, { chainId: 1 })).toBe(false)
  expect(isBy(WRITER, { vault: `0x${'7b'.repeat(20)}` })).toBe(false)
  const nobody = { r: `0x${'00'.repeat(32)}`, vs: `0x${'00'.repeat(32)}` } as const
  expect(isSuccessionBy(WRITER, SUCCESSION, DOMAIN, nobody)).toBe(false)
})
