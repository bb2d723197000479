/** How much of everything a message may hold: exactly so much, and not one more. What else is refused: json.test.ts. @module */
import { expect, it } from 'vitest'
import { toBase64 } from '../bytes.ts'
import { BLANK_SLOTS } from '../credits/amounts.ts'
import {
  AgentClearingsSchema,
  AgentLogSchema,
  AgentStatusSchema,
  EvidenceAnswerSchema,
  PublicEvidenceSchema,
  SignedClearingSchema,
} from './agentApi.ts'
import { ProofsRequestSchema } from './aggregatorApi.ts'
import {
  AgentKeysetsSchema,
  AgentSuccessionsSchema,
  HandoverAnswerSchema,
  HandoverRequestSchema,
} from './handoverApi.ts'
import {
  CaptureAnswerSchema,
  ChangeTileSchema,
  IssueRequestSchema,
  ReserveRequestSchema,
  SpentPageSchema,
} from './issuerApi.ts'
import { parseJson, type Schema, WireError } from './json.ts'
import { parseSealed } from './paymentField.ts'
import { parseReceiptFile, SettledLeafSchema } from './receiptFile.ts'
import { RelayDirectorySchema } from './relayApi.ts'
import { IssuedAnswerSchema, SpentCreditsSchema, SpentRequestSchema } from './vaultDutyApi.ts'

const hex = (bytes: number): string => `0x${'a1'.repeat(bytes)}`
const base64 = (bytes: number): string => toBase64(new Uint8Array(bytes))
const many = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one)
const [address, hash, point] = [hex(20), hex(32), base64(48)]
const signature = { r: hash, vs: hash }
const statement = {
  chainId: 1,
  registry: address,
  settlement: address,
  role: 'gateway',
  enclave: address,
  keyConfigs: hash,
  operator: address,
}
const announcement = { hash, signature: hex(65) }
const head = { enclave: address, size: '7', root: hash, fees: '9', signature }
const line = { enclave: address, captured: '5' }
const clearing = { keyset: hash, issued: '9', captured: '5', enclaves: [line], ...signature }
const evidence = { format: 'sealpath-evidence/1', statement, document: base64(8), announcement }
const settled = {
  enclave: address,
  index: '1',
  size: '7',
  logPath: [hash],
  batch: '1',
  batchIndex: '0',
  batchSize: '1',
  batchPath: [hash],
  transaction: hash,
  block: '2',
}
const keyset = { keyset: hash, keys: base64(256), signUntil: 1, spendUntil: 2, exitUntil: 3, signature }
const output = { exponent: 3, blinded: point }
const signed = { exponent: 3, signature: point }
const spentCredit = { credit: hash, exitKey: address, secret: base64(32) }

/** A good one of each. */
const MESSAGES: readonly { readonly name: string; readonly schema: Schema<unknown>; readonly good: object }[] = [
  {
    name: 'AgentStatus',
    schema: AgentStatusSchema,
    good: { statement, keyConfigs: base64(8), possession: hex(65), announcement },
  },
  { name: 'EvidenceAnswer', schema: EvidenceAnswerSchema, good: { document: base64(8) } },
  { name: 'PublicEvidence', schema: PublicEvidenceSchema, good: evidence },
  { name: 'AgentLog', schema: AgentLogSchema, good: { from: '0', leaves: base64(64), head } },
  { name: 'SignedClearing', schema: SignedClearingSchema, good: clearing },
  { name: 'AgentClearings', schema: AgentClearingsSchema, good: { clearings: [clearing] } },
  { name: 'ProofsRequest', schema: ProofsRequestSchema, good: { leaves: [hash], size: '7' } },
  { name: 'SettledLeaf', schema: SettledLeafSchema, good: settled },
  {
    name: 'IssueRequest',
    schema: IssueRequestSchema,
    good: { keyset: hash, claimKey: address, outputs: [output], signature },
  },
  {
    name: 'ReserveRequest',
    schema: ReserveRequestSchema,
    good: { gateway: address, sealedPayment: base64(8), signature },
  },
  { name: 'CaptureAnswer', schema: CaptureAnswerSchema, good: { fee: '5', sealedChange: base64(8) } },
  { name: 'ChangeTile', schema: ChangeTileSchema, good: { payments: [{ locator: hash, change: [signed] }] } },
  { name: 'HandoverRequest', schema: HandoverRequestSchema, good: { evidence, keyConfigs: base64(8), signature } },
  { name: 'HandoverAnswer', schema: HandoverAnswerSchema, good: { sealed: base64(8) } },
  { name: 'AgentKeysets', schema: AgentKeysetsSchema, good: { vault: address, keysets: [keyset] } },
  {
    name: 'AgentSuccessions',
    schema: AgentSuccessionsSchema,
    good: { vault: address, successions: [{ keyset: hash, successor: address, ...signature }] },
  },
  {
    name: 'IssuedAnswer',
    schema: IssuedAnswerSchema,
    good: { exponents: base64(2), blinded: base64(96), signatures: base64(96), ...signature },
  },
  { name: 'SpentRequest', schema: SpentRequestSchema, good: { credits: [hash] } },
  { name: 'SpentCredits', schema: SpentCreditsSchema, good: { spent: [spentCredit] } },
  {
    name: 'RelayDirectory',
    schema: RelayDirectorySchema,
    good: { operator: 'us', gateways: [{ name: 'a', path: '/gateways/a' }] },
  },
]

/** A message's part that may be so long, and how to make it of another length. */
type Bound = readonly [message: string, part: string, max: number, partOf: (length: number) => unknown]

const BOUNDS: readonly Bound[] = [
  ['AgentStatus', 'keyConfigs', 16_384, base64],
  ['EvidenceAnswer', 'document', 16_384, base64],
  ['PublicEvidence', 'document', 16_384, base64],
  ['AgentLog', 'leaves', 65_536 * 32, base64],
  ['SignedClearing', 'enclaves', 256, (n) => many(n, line)],
  ['AgentClearings', 'clearings', 128, (n) => many(n, clearing)],
  ['ProofsRequest', 'leaves', 256, (n) => many(n, hash)],
  ['SettledLeaf', 'logPath', 64, (n) => many(n, hash)],
  ['SettledLeaf', 'batchPath', 64, (n) => many(n, hash)],
  ['IssueRequest', 'outputs', 64, (n) => many(n, output)],
  ['ReserveRequest', 'sealedPayment', 8_192, base64],
  ['CaptureAnswer', 'sealedChange', 8_192, base64],
  ['ChangeTile', 'payments', 4_096, (n) => many(n, { locator: hash })],
  ['ChangeTile', 'payments', BLANK_SLOTS, (n) => [{ locator: hash, change: many(n, signed) }]],
  ['HandoverRequest', 'keyConfigs', 16_384, base64],
  ['HandoverAnswer', 'sealed', 65_536, base64],
  ['AgentKeysets', 'keysets', 64, (n) => many(n, keyset)],
  ['AgentSuccessions', 'successions', 64, (n) => many(n, { keyset: hash, successor: address, ...signature })],
  ['IssuedAnswer', 'exponents', 64, base64],
  ['IssuedAnswer', 'blinded', 64 * 48, base64],
  ['IssuedAnswer', 'signatures', 64 * 48, base64],
  ['SpentRequest', 'credits', 256, (n) => many(n, hash)],
  ['SpentCredits', 'spent', 256, (n) => many(n, spentCredit)],
  ['RelayDirectory', 'operator', 128, (n) => 'x'.repeat(n)],
  ['RelayDirectory', 'gateways', 1_000, (n) => many(n, { name: 'a', path: '/gateways/a' })],
]

it.each(BOUNDS)('%s takes as much of %s as %i, and not one more', (name, part, max, partOf) => {
  const message = MESSAGES.find((each) => each.name === name)
  if (message === undefined) throw new Error(`no message ${name}`)
  const parse = (length: number): unknown =>
    parseJson(message.schema, JSON.stringify({ ...message.good, [part]: partOf(length) }), name)
  expect(() => parse(max)).not.toThrow()
  expect(() => parse(max + 1)).toThrow(WireError)
})

it('a page of spent credits holds 16,384 whole ids', () => {
  const parse = (bytes: number): unknown => parseJson(SpentPageSchema, JSON.stringify({ ids: base64(bytes) }), 'page')
  expect(() => parse(16_384 * 8)).not.toThrow()
  expect(() => parse(16_384 * 8 + 8)).toThrow(WireError)
  expect(() => parse(8 * 8 + 1)).toThrow(WireError)
})

it('a sealed payment in a header field has at most 8 KiB', () => {
  expect(parseSealed(base64(8_192))).toHaveLength(8_192)
  expect(() => parseSealed(base64(8_193))).toThrow(WireError)
})

it('a receipt file opens a commitment to 32 MiB at most', () => {
  const salted = (data: string) => ({ salt: hash, data })
  const [nothing, receipt] = [salted(''), { version: 1, enclave: address, model: hash, source: 'operator' }]
  const file = {
    format: 'sealpath-receipt/1',
    chainId: 1,
    registry: address,
    settlement: address,
    public: { ...receipt, origin: hash, request: hash, output: hash, nonce: hash, outcome: 'complete' },
    private: {
      promptTokens: '1',
      completionTokens: '2',
      prices: hash,
      fee: '3',
      hour: '4',
      encapsulated: hash,
      toolCalls: hash,
      response: hash,
    },
    index: '0',
    head: { size: '1', root: hash, signature },
    path: [],
  }
  const opened = (data: string) => {
    const openings = { request: nothing, nonce: nothing, response: nothing, toolCalls: nothing, output: salted(data) }
    return parseReceiptFile(JSON.stringify({ ...file, openings })).openings?.output.data.length
  }
  // 33,554,432 zeros, and one more.
  expect(opened(`${'A'.repeat(44_739_243)}=`)).toBe(33_554_432)
  expect(() => opened('A'.repeat(44_739_244))).toThrow(WireError)
})
