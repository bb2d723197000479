/** One good receipt, and every way of changing it by one bit. @module */
import { describe, expect, test } from 'vitest'
import { buildReceipt } from '../../../test/support/builtReceipt.ts'
import type { Hex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import {
  parseProofBundle,
  parseReceiptFile,
  parseReceiptMessage,
  type ReceiptFile,
  serializeProofBundle,
  serializeReceiptFile,
  serializeReceiptMessage,
} from '../wire/receiptFile.ts'
import { COMMITMENT_KINDS } from './commitment.ts'
import { hashPrivateReceipt, hashPublicReceipt, receiptLeaf, ZERO_HASH } from './receipt.ts'
import { verifyReceipt } from './verifyReceipt.ts'

const GOOD = buildReceipt({ log: Array.from({ length: 10 }, (_, i) => keccak256(Uint8Array.of(i))), index: 6 })

function codeOf(receipt: ReceiptFile): string {
  const verdict = verifyReceipt(receipt)
  return verdict.ok ? 'OK' : verdict.code
}

function flip(hex: Hex, bit: number): Hex {
  const digit = 2 + (bit >> 2)
  const changed = Number.parseInt(hex[digit] ?? '0', 16) ^ (1 << (bit & 3))
  return `${hex.slice(0, digit)}${changed.toString(16)}${hex.slice(digit + 1)}` as Hex
}

const BITS_OF_WORD = Array.from({ length: 256 }, (_, i) => i).filter((bit) => bit % 19 === 0 || bit > 253)

test('accepts a good receipt, with its openings and without', () => {
  const leaf = receiptLeaf(hashPublicReceipt(GOOD.public), hashPrivateReceipt(GOOD.private))
  const { openings: _openings, ...message } = GOOD
  expect(verifyReceipt(GOOD)).toEqual({ ok: true, leaf })
  expect(verifyReceipt(message)).toEqual({ ok: true, leaf })
})

test.each(['model', 'origin', 'request', 'output', 'nonce'] as const)('refuses any flipped bit of %s', (field) => {
  for (const bit of BITS_OF_WORD) {
    const changed = { ...GOOD, public: { ...GOOD.public, [field]: flip(GOOD.public[field], bit) } }
    expect(codeOf(changed)).toBe('PATH_MISMATCH')
  }
})

test.each(['prices', 'encapsulated', 'toolCalls', 'response'] as const)('refuses any flipped bit of %s', (field) => {
  for (const bit of BITS_OF_WORD) {
    const changed = { ...GOOD, private: { ...GOOD.private, [field]: flip(GOOD.private[field], bit) } }
    expect(codeOf(changed)).toBe('PATH_MISMATCH')
  }
})

test.each(['promptTokens', 'completionTokens', 'fee', 'hour'] as const)('refuses any flipped bit of %s', (field) => {
  for (let bit = 0n; bit < 64n; bit++) {
    const changed = { ...GOOD, private: { ...GOOD.private, [field]: GOOD.private[field] ^ (1n << bit) } }
    expect(codeOf(changed)).toBe('PATH_MISMATCH')
  }
})

test('refuses any other enclave, source and outcome', () => {
  for (let bit = 0; bit < 160; bit += 9) {
    const changed = { ...GOOD, public: { ...GOOD.public, enclave: flip(GOOD.public.enclave, bit) } }
    expect(codeOf(changed)).toBe('PATH_MISMATCH')
  }
  expect(codeOf({ ...GOOD, public: { ...GOOD.public, source: 'proxied' } })).toBe('PATH_MISMATCH')
  expect(codeOf({ ...GOOD, public: { ...GOOD.public, outcome: 'cut' } })).toBe('PATH_MISMATCH')
})

test('refuses every other index, by its place or by the size', () => {
  for (let index = 0n; index < 20n; index++) {
    if (index === GOOD.index) continue
    expect(codeOf({ ...GOOD, index })).toBe(index < GOOD.head.size ? 'PATH_MISMATCH' : 'INDEX_OUT_OF_RANGE')
  }
})

test('refuses every other size', () => {
  for (let size = 0n; size < 40n; size++) {
    if (size === GOOD.head.size) continue
    const code = codeOf({ ...GOOD, head: { ...GOOD.head, size } })
    // A size with a path of the same shape gets as far as the signature.
    expect(size <= GOOD.index ? ['INDEX_OUT_OF_RANGE'] : ['PATH_MISMATCH', 'HEAD_NOT_SIGNED']).toContain(code)
  }
})

test('refuses any flipped bit of root, signature and path', () => {
  for (const bit of BITS_OF_WORD) {
    const { head, path } = GOOD
    const { r, vs } = head.signature
    expect(codeOf({ ...GOOD, head: { ...head, root: flip(head.root, bit) } })).toBe('PATH_MISMATCH')
    expect(codeOf({ ...GOOD, head: { ...head, signature: { r: flip(r, bit), vs } } })).toBe('HEAD_NOT_SIGNED')
    expect(codeOf({ ...GOOD, head: { ...head, signature: { r, vs: flip(vs, bit) } } })).toBe('HEAD_NOT_SIGNED')
    for (let i = 0; i < path.length; i++) {
      const changed = path.map((node, j) => (i === j ? flip(node, bit) : node))
      expect(codeOf({ ...GOOD, path: changed })).toBe('PATH_MISMATCH')
    }
  }
  expect(codeOf({ ...GOOD, path: GOOD.path.slice(1) })).toBe('PATH_MISMATCH')
  expect(codeOf({ ...GOOD, path: [...GOOD.path, ZERO_HASH] })).toBe('PATH_MISMATCH')
})

test('refuses another chain and another contract: the head was not signed for them', () => {
  expect(codeOf({ ...GOOD, chainId: 31_336 })).toBe('HEAD_NOT_SIGNED')
  for (let bit = 0; bit < 160; bit += 23) {
    expect(codeOf({ ...GOOD, settlement: flip(GOOD.settlement, bit) })).toBe('HEAD_NOT_SIGNED')
  }
})

describe.each(COMMITMENT_KINDS)('the opening of %s', (kind) => {
  const openings = GOOD.openings
  if (openings === undefined) throw new Error('expected openings')
  const opening = openings[kind]

  test('is refused after any one bit of its salt is flipped', () => {
    for (const bit of BITS_OF_WORD) {
      const changed = { ...openings, [kind]: { ...opening, salt: flip(opening.salt, bit) } }
      expect(codeOf({ ...GOOD, openings: changed })).toBe('COMMITMENT_MISMATCH')
    }
  })

  test('is refused after any one bit of its data is flipped, and with a byte more or less', () => {
    const others: Uint8Array[] = Array.from({ length: 8 * opening.data.length }, (_, bit) => {
      const data = opening.data.slice()
      data[bit >> 3] = (data[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return data
    })
    others.push(new Uint8Array([...opening.data, 0]))
    if (opening.data.length > 0) others.push(opening.data.subarray(1))
    for (const data of others) {
      expect(codeOf({ ...GOOD, openings: { ...openings, [kind]: { ...opening, data } } })).toBe('COMMITMENT_MISMATCH')
    }
  })
})

test('survives the trailer, the file and the proof bundle unchanged', () => {
  const { openings: _openings, ...message } = GOOD
  expect(parseReceiptMessage(serializeReceiptMessage(message))).toEqual(message)
  expect(serializeReceiptMessage(message)).not.toContain('\n')
  expect(parseReceiptFile(serializeReceiptFile(GOOD))).toEqual(GOOD)
  expect(parseReceiptFile(serializeReceiptFile(message))).toEqual(message)
  const settled = {
    enclave: GOOD.public.enclave,
    index: 6n,
    size: 10n,
    logPath: GOOD.path,
    batch: 1n,
    batchIndex: 0n,
    batchSize: 1n,
    batchPath: [],
    transaction: ZERO_HASH,
    block: 9n,
  }
  const bundle = { format: 'sealpath-proof/1', receipt: GOOD, settled } as const
  expect(parseProofBundle(serializeProofBundle(bundle))).toEqual(bundle)
})

test('drops openings from a trailer: a gateway has none to give', () => {
  expect(parseReceiptMessage(serializeReceiptFile(GOOD))).not.toHaveProperty('openings')
})
