/** One good receipt, and the steps that name what is wrong with a changed one. @module */
import { describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { COMMITMENT_KINDS, type CommitmentKind } from '#protocol/receipt/commitment.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { type ReceiptFile, serializeReceiptFile } from '#protocol/wire/receiptFile.ts'
import { buildReceipt } from '../../test/support/builtReceipt.ts'
import { examineFile, parseDropped } from './receiptFile.ts'

const GOOD = buildReceipt({ log: Array.from({ length: 9 }, (_, i) => keccak256(Uint8Array.of(i))), index: 9 })
const flip = (hex: Hex): Hex => `${hex.slice(0, -1)}${hex.endsWith('0') ? '1' : '0'}` as Hex

function failures(receipt: ReceiptFile): string[] {
  return examineFile(receipt).flatMap(({ name, state }) => (state === 'failed' ? [name] : []))
}

it('passes every step for a good receipt, as it was saved', () => {
  const { receipt, settled } = parseDropped(serializeReceiptFile(GOOD))
  expect(settled).toBeUndefined()
  const steps = examineFile(receipt)
  expect(steps.map(({ name }) => name)).toEqual([...COMMITMENT_KINDS, 'path', 'head'])
  expect(steps.every(({ state }) => state === 'passed')).toBe(true)
})

it('skips commitments that the file does not open', () => {
  const { openings: _, ...shared } = GOOD
  const states = examineFile(shared).map(({ state }) => state)
  expect(states).toEqual([...COMMITMENT_KINDS.map(() => 'skipped'), 'passed', 'passed'])
})

describe('names what one changed digit breaks, and refuses whatever the SDK refuses', () => {
  const { openings } = GOOD
  if (openings === undefined) throw new Error('the receipt was built with openings')
  const resalted = (kind: CommitmentKind): ReceiptFile => ({
    ...GOOD,
    openings: { ...openings, [kind]: { ...openings[kind], salt: flip(openings[kind].salt) } },
  })
  it.each<[string, ReceiptFile, string[]]>([
    ...COMMITMENT_KINDS.map((kind): [string, ReceiptFile, string[]] => [`salt of ${kind}`, resalted(kind), [kind]]),
    ['answer', { ...GOOD, public: { ...GOOD.public, output: flip(GOOD.public.output) } }, ['output', 'path']],
    [
      'response',
      { ...GOOD, private: { ...GOOD.private, response: flip(GOOD.private.response) } },
      ['response', 'path'],
    ],
    ['fee', { ...GOOD, private: { ...GOOD.private, fee: GOOD.private.fee + 1n } }, ['path']],
    ['enclave', { ...GOOD, public: { ...GOOD.public, enclave: flip(GOOD.public.enclave) } }, ['path', 'head']],
    ['path', { ...GOOD, path: GOOD.path.map(flip) }, ['path']],
    ['index', { ...GOOD, index: 8n }, ['path']],
    ['index beyond the log', { ...GOOD, index: 10n }, ['path']],
    ['root', { ...GOOD, head: { ...GOOD.head, root: flip(GOOD.head.root) } }, ['path', 'head']],
    ['settlement', { ...GOOD, settlement: flip(GOOD.settlement) }, ['head']],
    [
      'signature',
      { ...GOOD, head: { ...GOOD.head, signature: { ...GOOD.head.signature, vs: flip(GOOD.head.signature.vs) } } },
      ['head'],
    ],
  ])('%s', (_, receipt, names) => {
    expect(failures(receipt)).toEqual(names)
    expect(verifyReceipt(receipt).ok).toBe(false)
  })
})
