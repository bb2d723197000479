/** EIP-712 against viem's encoder and ethers', on every type that is used here. @module */
import { TypedDataEncoder } from 'ethers'
import fc from 'fast-check'
import { getAddress, hashStruct as viemHashStruct, hashTypedData as viemHashTypedData } from 'viem'
import { describe, expect, it } from 'vitest'
import { checksumAddress } from './address.ts'
import { type Hex, toHex } from './bytes.ts'
import { hashStruct, hashTypedData } from './typedData.ts'

const TYPES = {
  Everything: [
    { name: 'owner', type: 'address' },
    { name: 'word', type: 'bytes32' },
    { name: 'small', type: 'uint8' },
    { name: 'large', type: 'uint64' },
    { name: 'largest', type: 'uint256' },
    { name: 'flag', type: 'bool' },
    { name: 'text', type: 'string' },
  ],
  Other: [{ name: 'text', type: 'string' }],
} as const

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map(toHex)
const message = fc.record({
  owner: bytesOf(20),
  word: bytesOf(32),
  small: fc.integer({ min: 0, max: 255 }),
  large: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  largest: fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
  flag: fc.boolean(),
  text: fc.string({ unit: 'grapheme' }),
})
// viem takes an empty name or version for one that is left out.
const domain = fc.record({
  name: fc.string({ minLength: 1 }),
  version: fc.string({ minLength: 1 }),
  chainId: fc.integer({ min: 1, max: 2 ** 40 }),
  verifyingContract: bytesOf(20),
})

describe('typed data', () => {
  it('hashes as viem and ethers hash it', () => {
    fc.assert(
      fc.property(domain, message, (domain, message) => {
        const digest = hashTypedData({ domain, types: TYPES, primaryType: 'Everything', message })
        expect(digest).toBe(viemHashTypedData({ domain, types: TYPES, primaryType: 'Everything', message }))
        const types = { Everything: TYPES.Everything.map((field) => ({ ...field })) }
        expect(digest).toBe(TypedDataEncoder.hash(domain, types, message))
        const struct = hashStruct({ types: TYPES, primaryType: 'Everything', data: message })
        expect(struct).toBe(viemHashStruct({ types: TYPES, primaryType: 'Everything', data: message }))
      }),
      { numRuns: 200, seed: 7 },
    )
  })

  it.each([
    ['owner', '0x12', 'BytesError'],
    ['owner', 12, 'TypeError'],
    ['word', `0x${'00'.repeat(31)}`, 'BytesError'],
    ['small', 256, 'BytesError'],
    ['small', -1, 'BytesError'],
    ['small', 1.5, 'TypeError'],
    ['large', 2n ** 64n, 'BytesError'],
    ['largest', '7', 'TypeError'],
    ['flag', 1, 'TypeError'],
    ['text', undefined, 'TypeError'],
  ])('is not made of a %s that is %s', (name, value, error) => {
    const good = {
      owner: `0x${'11'.repeat(20)}` as Hex,
      word: `0x${'22'.repeat(32)}` as Hex,
      small: 1,
      large: 2n,
      largest: 3n,
      flag: true,
      text: '',
    }
    const data = { ...good, [name]: value } as typeof good
    expect(() => hashStruct({ types: TYPES, primaryType: 'Everything', data: good })).not.toThrow()
    expect(() => hashStruct({ types: TYPES, primaryType: 'Everything', data })).toThrow(
      expect.objectContaining({ name: error }),
    )
  })

  it('is not made of a struct that is not among the types', () => {
    const types: Record<string, typeof TYPES.Other> = { Other: TYPES.Other }
    expect(() => hashStruct({ types, primaryType: 'Unknown', data: { text: '' } })).toThrow(TypeError)
  })
})

describe('an address', () => {
  it('gets the checksum that viem gives it, whatever case it came in', () => {
    fc.assert(
      fc.property(bytesOf(20), (address) => {
        const expected = getAddress(address)
        expect(checksumAddress(address)).toBe(expected)
        expect(checksumAddress(`0x${address.slice(2).toUpperCase()}`)).toBe(expected)
      }),
      { numRuns: 200, seed: 7 },
    )
  })

  it.each(['0x', `0x${'1'.repeat(39)}`, `0x${'1'.repeat(41)}`, '1'.repeat(42)])('is not %s', (text) => {
    expect(() => checksumAddress(text as Hex)).toThrow(TypeError)
  })
})
