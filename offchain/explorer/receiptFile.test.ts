/** One good receipt, and the steps that name what is wrong with a changed one. @module */
import { describe, expect, it } from 'vitest'
import { encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, pathFromEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { COMMITMENT_KINDS, type CommitmentKind, commit, deriveSalts } from '#protocol/receipt/commitment.ts'
import { enclaveOfKey, signHead } from '#protocol/receipt/head.ts'
import { hashName, hashPrivateReceipt, hashPublicReceipt, receiptLeaf, ZERO_HASH } from '#protocol/receipt/receipt.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { openingsOf, type ReceiptFile, serializeReceiptFile } from '#protocol/wire/receiptFile.ts'
import { examineFile, parseDropped } from './receiptFile.ts'

const GOOD = await buildReceipt()
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

async function buildReceipt(): Promise<ReceiptFile> {
  const key = new Uint8Array(32).fill(0x42)
  const domain = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
  const data = {
    request: encodeUtf8('{"model":"demo"}'),
    output: encodeUtf8('Hello'),
    nonce: Uint8Array.of(1),
    response: encodeUtf8('{}'),
    toolCalls: new Uint8Array(),
  }
  const salts = await deriveSalts(async (label, length) => keccak256(encodeUtf8(label)).subarray(0, length))
  const commitment = (kind: CommitmentKind): Hex => toHex(commit(kind, salts[kind], data[kind]))
  const enclave = enclaveOfKey(key).toLowerCase() as Hex
  const publicHalf = {
    version: 1,
    enclave,
    model: hashName('demo'),
    source: 'measured',
    origin: ZERO_HASH,
    request: commitment('request'),
    output: commitment('output'),
    nonce: commitment('nonce'),
    outcome: 'complete',
  } as const
  const privateHalf = {
    promptTokens: 3n,
    completionTokens: 5n,
    prices: hashName('prices'),
    fee: 8n,
    hour: 490_000n,
    encapsulated: hashName('encapsulated'),
    toolCalls: commitment('toolCalls'),
    response: commitment('response'),
  }
  const leaf = receiptLeaf(hashPublicReceipt(publicHalf), hashPrivateReceipt(privateHalf))
  let edge = EMPTY_EDGE
  for (let i = 0; i < 9; i++) edge = appendLeaf(edge, keccak256(Uint8Array.of(i)))
  const last = appendLeaf(edge, leaf)
  const root = toHex(rootOfEdge(last))
  const { signature } = signHead({ kind: 'log', enclave, size: 10n, root }, domain, key)
  return {
    format: 'sealpath-receipt/1',
    registry: `0x${'7e'.repeat(20)}`,
    ...domain,
    public: publicHalf,
    private: privateHalf,
    index: 9n,
    head: { size: 10n, root, signature },
    path: pathFromEdge(edge, [leaf], 9).map(toHex),
    openings: openingsOf(salts, data),
  }
}
