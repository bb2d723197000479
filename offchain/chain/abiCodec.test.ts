/** The small codec against viem's, on the functions that clients read, and on answers that lie. @module */
import fc from 'fast-check'
import { decodeFunctionResult, encodeFunctionData, encodeFunctionResult } from 'viem'
import { describe, expect, it } from 'vitest'
import { encodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { decodeResult, encodeCall } from './abiCodec.ts'
import { registryReadsAbi, settlementReadsAbi } from './generated/readsAbis.ts'

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map(toHex)
const time = fc.integer({ min: 0, max: 2 ** 40 - 1 })
const entry = fc.record({
  operator: bytesOf(20),
  endsAt: time,
  role: fc.integer({ min: 0, max: 2 }),
  isCompromised: fc.boolean(),
  isDevelopment: fc.boolean(),
  isBonded: fc.boolean(),
  measurement: bytesOf(32),
})
const keys = fc.record({ hash: bytesOf(32), activeFrom: time, expiresAt: time })
const live = fc.tuple(
  fc.array(bytesOf(20), { maxLength: 5 }),
  fc.array(entry, { maxLength: 5 }),
  fc.array(fc.tuple(keys, keys), { maxLength: 5 }),
)
const registry = { abi: registryReadsAbi, functionName: 'liveEnclaves' } as const

describe('calls', () => {
  it('are encoded as viem encodes them', () => {
    const args = [1, 500n, 2n ** 255n] as const
    expect(encodeCall(registryReadsAbi, 'liveEnclaves', args)).toBe(encodeFunctionData({ ...registry, args }))
    expect(encodeCall(registryReadsAbi, 'settlement', [])).toBe(
      encodeFunctionData({ abi: registryReadsAbi, functionName: 'settlement' }),
    )
    expect(encodeCall(settlementReadsAbi, 'batchRoot', [7n])).toBe(
      encodeFunctionData({ abi: settlementReadsAbi, functionName: 'batchRoot', args: [7n] }),
    )
  })

  it('carry addresses and words', () => {
    const abi = [
      {
        type: 'function',
        name: 'f',
        inputs: [{ type: 'address' }, { type: 'bytes32' }],
        outputs: [],
        stateMutability: 'view',
      },
    ] as const
    const args = [`0x${'ab'.repeat(20)}`, `0x${'cd'.repeat(32)}`] as const
    expect(encodeCall(abi, 'f', args)).toBe(encodeFunctionData({ abi, args }))
  })

  it.each<[string, readonly unknown[]]>([
    ['unknown', []],
    ['liveEnclaves', [1, 2n]],
    ['liveEnclaves', ['one', 2n, 3n]],
    ['liveEnclaves', [256, 2n, 3n]],
  ])('that make no sense are refused: %s', (name, args) => {
    expect(() => encodeCall(registryReadsAbi, name, args)).toThrow()
  })
})

describe('answers', () => {
  it('are decoded as viem decodes them, addresses in lower case', () => {
    fc.assert(
      fc.property(live, (result) => {
        const data = encodeFunctionResult({ ...registry, result: result as never })
        const viem = decodeFunctionResult({ ...registry, data })
        const lower = viem[0].map((address) => address.toLowerCase())
        const entries = viem[1].map((found) => ({ ...found, operator: found.operator.toLowerCase() }))
        expect(decodeResult(registryReadsAbi, 'liveEnclaves', data)).toEqual([lower, entries, viem[2]])
      }),
      { numRuns: 100, seed: 7 },
    )
  })

  it('of one value are that value', () => {
    const word = (value: bigint) => toHex(encodeUint(value, 32))
    expect(decodeResult(registryReadsAbi, 'enclaveCount', word(7n))).toBe(7n)
    expect(decodeResult(registryReadsAbi, 'settlement', word(7n))).toBe(`0x${'00'.repeat(19)}07`)
    expect(decodeResult(settlementReadsAbi, 'batchRoot', word(7n))).toBe(word(7n))
  })

  it('that are cut anywhere are refused', () => {
    const [result] = fc.sample(
      live.filter(([ids, entries, all]) => ids.length * entries.length * all.length > 0),
      {
        numRuns: 1,
        seed: 7,
      },
    )
    const data = fromHex(encodeFunctionResult({ ...registry, result: result as never }))
    for (let length = 0; length < data.length; length += 16) {
      expect(() => decodeResult(registryReadsAbi, 'liveEnclaves', toHex(data.subarray(0, length)))).toThrow()
    }
  })

  it.each<[string, string, bigint]>([
    ['enclaveCount', 'too short', -1n],
    ['settlement', 'a number of 161 bits', 1n << 160n],
    ['liveEnclaves', 'an offset outside of it', 1n << 255n],
    ['liveEnclaves', 'an offset that is not a safe integer', 1n << 60n],
  ])('of %s that hold %s are refused', (name, _what, value) => {
    const data: Hex = value < 0n ? '0x00' : toHex(encodeUint(value, 32))
    expect(() => decodeResult(registryReadsAbi, name, data)).toThrow(expect.objectContaining({ name: 'AbiError' }))
  })

  it('that claim more elements than they have bytes for are refused before anything is made', () => {
    const abi = [
      { type: 'function', name: 'f', inputs: [], outputs: [{ type: 'uint256[]' }], stateMutability: 'view' },
    ] as const
    const words = [32n, 96n, 1n].map((value) => toHex(encodeUint(value, 32)).slice(2)).join('')
    expect(() => decodeResult(abi, 'f', `0x${words}`)).toThrow(expect.objectContaining({ name: 'AbiError' }))
  })

  it.each(['bool', 'uint8'])('that hold something else than a %s are refused', (type) => {
    const abi = [{ type: 'function', name: 'f', inputs: [], outputs: [{ type }] }]
    const word = (value: bigint) => toHex(encodeUint(value, 32))
    expect(decodeResult(abi, 'f', word(1n))).toBe(type === 'bool' ? true : 1)
    expect(() => decodeResult(abi, 'f', word(256n))).toThrow(expect.objectContaining({ name: 'AbiError' }))
  })

  it.each(['string', 'uint256[][]', 'int8'])('of a type that is unknown here are a mistake of ours: %s', (type) => {
    const abi = [{ type: 'function', name: 'f', inputs: [], outputs: [{ type }] }]
    expect(() => decodeResult(abi, 'f', `0x${'00'.repeat(128)}`)).toThrow(TypeError)
  })
})
