import { describe, expect, it } from 'vitest'
import { concatBytes, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import {
  decodeEntry,
  depositId,
  type Entry,
  EntryError,
  encodeEntry,
  entryLeaf,
  hashBlanks,
  hashChange,
} from './entry.ts'

const word = (byte: string): Hex => `0x${byte.repeat(32)}`
const address = (byte: string): Hex => `0x${byte.repeat(20)}`

const ENTRIES: readonly Entry[] = [
  { type: 'issue', keyset: word('01'), deposit: word('02'), outputs: word('03'), units: 1_000_000n },
  {
    type: 'reserve',
    keyset: word('01'),
    payment: word('04'),
    gateway: address('05'),
    maximumFee: 992n,
    expiresAt: 1_800_000_000n,
    latestExpiry: 1_800_003_600n,
    blanks: word('06'),
    inputs: [
      { exponent: 0, spent: word('07') },
      { exponent: 23, spent: word('08') },
    ],
  },
  { type: 'renew', keyset: word('01'), payment: word('04'), expiresAt: 1_800_000_300n },
  { type: 'capture', keyset: word('01'), payment: word('04'), fee: 31n, change: word('09') },
  { type: 'adopt', enclave: address('0a'), size: 7n, root: word('0b'), state: word('0c') },
]

describe.each(ENTRIES.map((entry) => [entry.type, entry] as const))('an entry of type %s', (_, entry) => {
  const encoded = encodeEntry(entry)

  it('is read as it was written', () => {
    expect(decodeEntry(encoded)).toEqual(entry)
  })

  it('is refused when it is cut anywhere or a byte is added', () => {
    for (let length = 0; length < encoded.length; length++) {
      expect(() => decodeEntry(encoded.subarray(0, length))).toThrow(EntryError)
    }
    expect(() => decodeEntry(concatBytes(encoded, Uint8Array.of(0)))).toThrow('expected the entry to end here')
  })

  it('has another leaf when any bit of it is flipped', () => {
    const leaves = new Set([toHex(entryLeaf(encoded))])
    for (let bit = 0; bit < 8 * encoded.length; bit++) {
      const flipped = encoded.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      leaves.add(toHex(entryLeaf(flipped)))
    }
    expect(leaves.size).toBe(8 * encoded.length + 1)
  })
})

it('an entry of no type, of too many inputs, or of an exponent that is none is refused', () => {
  const codeOf = (bytes: Uint8Array) => {
    try {
      decodeEntry(bytes)
    } catch (error) {
      return error instanceof EntryError ? error.code : error
    }
    return undefined
  }
  const reserve = encodeEntry(ENTRIES[1] ?? unreachable())
  const with_ = (at: number, value: number) => {
    const changed = reserve.slice()
    changed[at] = value
    return changed
  }
  const countAt = 1 + 32 + 32 + 20 + 24 + 32
  expect(codeOf(with_(0, 6))).toBe('UNKNOWN_TYPE')
  expect(codeOf(with_(countAt, 0))).toBe('BAD_COUNT')
  expect(codeOf(with_(countAt, 9))).toBe('BAD_COUNT')
  expect(codeOf(with_(countAt + 1, 24))).toBe('BAD_EXPONENT')
  expect(codeOf(new Uint8Array())).toBe('WRONG_LENGTH')
})

it('a leaf is hashed over three words, so that the tree of receipts serves', () => {
  const encoded = encodeEntry(ENTRIES[0] ?? unreachable())
  const kind = keccak256(new TextEncoder().encode('Sealpath issuer entry v1'))
  expect(entryLeaf(encoded)).toEqual(keccak256(concatBytes(Uint8Array.of(0), kind, keccak256(encoded))))
})

it('names depend on everything they are of', () => {
  expect(depositId(word('01'), address('02'))).not.toBe(depositId(word('01'), address('03')))
  expect(depositId(word('01'), address('02'))).not.toBe(depositId(word('02'), address('02')))
  const blanks = [new Uint8Array(48).fill(1), new Uint8Array(48).fill(2)]
  expect(hashBlanks(blanks)).not.toBe(hashBlanks(blanks.toReversed()))
  const change = { exponent: 1, blank: word('01'), signature: new Uint8Array(48) }
  expect(hashChange([change])).not.toBe(hashChange([{ ...change, exponent: 2 }]))
  expect(hashChange([])).not.toBe(hashChange([change]))
})

function unreachable(): never {
  throw new Error('expected an entry')
}
