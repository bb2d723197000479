/** The edge: what every schema of the wire takes, and how it refuses the rest. @module */
import fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { type Hex, toBase64 } from '../bytes.ts'
import { PriceListSchema } from '../prices.ts'
import {
  AcknowledgedSchema,
  AgentClearingsSchema,
  AgentLogSchema,
  AgentStatusSchema,
  ClearingAcknowledgedSchema,
  EarningsHeadSchema,
  EvidenceAnswerSchema,
  EvidenceRequestSchema,
  PublicEvidenceSchema,
  SignedClearingSchema,
  StatementSchema,
} from './agentApi.ts'
import {
  AggregatorStatusSchema,
  ApiErrorSchema,
  BatchSchema,
  ClearingReceivedSchema,
  EnclaveLogSchema,
  HeadDeliverySchema,
  HeadReceivedSchema,
  ProofsRequestSchema,
} from './aggregatorApi.ts'
import {
  AgentKeysetsSchema,
  AgentSuccessionsSchema,
  HandoverAnswerSchema,
  HandoverRequestSchema,
} from './handoverApi.ts'
import {
  CaptureRequestSchema,
  ChangeTileSchema,
  IssueAnswerSchema,
  IssueRequestSchema,
  RenewRequestSchema,
  ReserveAnswerSchema,
  ReserveRequestSchema,
} from './issuerApi.ts'
import {
  address,
  base64Of,
  decimal,
  hash,
  hexOf,
  parseJson,
  parseShape,
  type Schema,
  toJson,
  uintOf,
  WireError,
} from './json.ts'
import { parseProofBundle, parseReceiptFile, parseReceiptMessage, SettledLeafSchema } from './receiptFile.ts'
import { RelayDirectorySchema } from './relayApi.ts'
import { IssuedAnswerSchema, SpentCreditsSchema, SpentRequestSchema } from './vaultDutyApi.ts'

const ADDRESS: Hex = `0x${'ab'.repeat(20)}`
const HASH: Hex = `0x${'cd'.repeat(32)}`
const BYTES = Uint8Array.of(1, 2, 3, 250)

const statement = {
  chainId: 1,
  registry: ADDRESS,
  settlement: ADDRESS,
  role: 'gateway',
  enclave: ADDRESS,
  keyConfigs: HASH,
  operator: ADDRESS,
} as const
const head = { enclave: ADDRESS, size: 7n, root: HASH, fees: 2n ** 64n - 1n, signature: { r: HASH, vs: HASH } }
const signature = { r: HASH, vs: HASH }
const evidence = { format: 'sealpath-evidence/1', statement, document: BYTES } as const
const clearing = {
  keyset: HASH,
  issued: 2n ** 64n - 1n,
  captured: 3n,
  enclaves: [{ enclave: ADDRESS, captured: 2n }],
  r: HASH,
  vs: HASH,
}

/** A value of every schema, as it is inside. */
const WIRE: readonly (readonly [string, Schema<unknown>, Record<string, unknown>])[] = [
  ['Statement', StatementSchema, statement],
  ['AgentStatus', AgentStatusSchema, { statement, keyConfigs: BYTES, possession: `0x${'ef'.repeat(65)}` }],
  ['EvidenceRequest', EvidenceRequestSchema, { nonce: HASH }],
  ['EvidenceAnswer', EvidenceAnswerSchema, { document: BYTES }],
  ['PublicEvidence', PublicEvidenceSchema, { format: 'sealpath-evidence/1', statement, document: BYTES }],
  ['EarningsHead', EarningsHeadSchema, head],
  ['AgentLog', AgentLogSchema, { from: 0n, leaves: BYTES, head }],
  ['Acknowledged', AcknowledgedSchema, { size: 2n ** 53n - 1n }],
  ['HeadDelivery', HeadDeliverySchema, { head, from: 3n, leaves: BYTES }],
  ['HeadReceived', HeadReceivedSchema, { size: 4n }],
  ['SignedClearing', SignedClearingSchema, clearing],
  ['AgentClearings', AgentClearingsSchema, { clearings: [clearing] }],
  ['ClearingAcknowledged', ClearingAcknowledgedSchema, { keyset: HASH, enclaves: clearing.enclaves }],
  ['ClearingReceived', ClearingReceivedSchema, { clearing: HASH }],
  ['EnclaveLog', EnclaveLogSchema, { enclave: ADDRESS, role: 'issuer', size: 4n, settledSize: 3n, fees: 2n, head }],
  [
    'Batch',
    BatchSchema,
    {
      batch: 1n,
      root: HASH,
      transaction: HASH,
      block: 2n,
      gasUsed: 3n,
      heads: [{ enclave: ADDRESS, size: 1n, root: HASH }],
    },
  ],
  [
    'AggregatorStatus',
    AggregatorStatusSchema,
    {
      state: 'ok',
      enclaves: 1,
      leaves: 2n,
      unsettledHeads: 0,
      pendingClearings: 4,
      settledClearings: 5,
      batches: 3,
      account: ADDRESS,
    },
  ],
  ['ApiError', ApiErrorSchema, { error: { code: 'GAP', message: 'a gap', expectedFrom: 5n } }],
  [
    'SettledLeaf',
    SettledLeafSchema,
    {
      enclave: ADDRESS,
      index: 0n,
      size: 1n,
      logPath: [HASH],
      batch: 1n,
      batchIndex: 0n,
      batchSize: 1n,
      batchPath: [],
      transaction: HASH,
      block: 1n,
    },
  ],
  ['ProofsRequest', ProofsRequestSchema, { leaves: [HASH] }],
  [
    'IssueRequest',
    IssueRequestSchema,
    { keyset: HASH, claimKey: ADDRESS, outputs: [{ exponent: 3, blinded: BYTES }], signature },
  ],
  ['IssueAnswer', IssueAnswerSchema, { signatures: [BYTES] }],
  ['ReserveRequest', ReserveRequestSchema, { gateway: ADDRESS, sealedPayment: BYTES, signature }],
  ['ReserveAnswer', ReserveAnswerSchema, { payment: HASH, maximumFee: 2n, expiresAt: 3n }],
  ['RenewRequest', RenewRequestSchema, { payment: HASH, signature }],
  ['CaptureRequest', CaptureRequestSchema, { payment: HASH, fee: 5n, signature }],
  ['ChangeTile', ChangeTileSchema, { payments: [{ locator: HASH, change: [{ exponent: 3, signature: BYTES }] }] }],
  ['SpentRequest', SpentRequestSchema, { credits: [HASH] }],
  ['SpentCredits', SpentCreditsSchema, { spent: [{ credit: HASH, exitKey: ADDRESS, secret: BYTES }] }],
  ['IssuedAnswer', IssuedAnswerSchema, { exponents: BYTES, blinded: BYTES, signatures: BYTES, r: HASH, vs: HASH }],
  ['HandoverRequest', HandoverRequestSchema, { evidence, keyConfigs: BYTES, signature }],
  ['HandoverAnswer', HandoverAnswerSchema, { sealed: BYTES }],
  [
    'AgentKeysets',
    AgentKeysetsSchema,
    { vault: ADDRESS, keysets: [{ keyset: HASH, keys: BYTES, signUntil: 1, spendUntil: 2, exitUntil: 3, signature }] },
  ],
  [
    'AgentSuccessions',
    AgentSuccessionsSchema,
    { vault: ADDRESS, successions: [{ keyset: HASH, successor: ADDRESS, r: HASH, vs: HASH }] },
  ],
  ['RelayDirectory', RelayDirectorySchema, { operator: 'somebody', gateways: [{ name: 'a', path: '/gateways/a' }] }],
]

function onWire(value: unknown): unknown {
  return JSON.parse(toJson(value instanceof Uint8Array ? toBase64(value) : mapBytes(value)))
}

function mapBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return toBase64(value)
  if (Array.isArray(value)) return value.map(mapBytes)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, mapBytes(entry)]))
}

function refusal(call: () => unknown): WireError {
  try {
    call()
  } catch (error) {
    if (error instanceof WireError) return error
    throw error
  }
  throw new Error('expected a refusal')
}

describe.each(WIRE)('%s', (name, schema, value) => {
  test('reads back what was written', () => {
    expect(parseShape(schema, onWire(value), name)).toEqual(value)
  })

  test('refuses each field missing or of another type, naming its place', () => {
    const plain = onWire(value) as Record<string, unknown>
    for (const key of Object.keys(plain)) {
      const { [key]: _left, ...rest } = plain
      if (!(name === 'AgentLog' && key === 'head')) {
        expect(refusal(() => parseShape(schema, rest, name)).message).toContain(`${name}: ${key}`)
      }
      for (const junk of [null, true, { secret: 'SECRET' }, 'SECRET']) {
        if (name === 'RelayDirectory' && key === 'operator' && junk === 'SECRET') continue
        const { code, message } = refusal(() => parseShape(schema, { ...plain, [key]: junk }, name))
        expect(code).toBe('BAD_SHAPE')
        expect(message).toContain(`${name}: ${key}`)
        expect(message).not.toContain('SECRET')
      }
    }
  })

  test('leaves out what it does not know', () => {
    const plain = onWire(value) as Record<string, unknown>
    expect(parseShape(schema, { ...plain, unknown: 'x' }, name)).toEqual(value)
  })
})

test('throws nothing but WireError at junk, and never quotes it', () => {
  const schemas = [...WIRE.map(([, schema]) => schema), PriceListSchema]
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...schemas), (value, schema) => {
      const { message } = refusal(() => parseShape(schema, { SECRET: value }, 'thing'))
      expect(message).not.toContain('SECRET')
    }),
    { seed: 20_261_121, numRuns: 500 },
  )
})

test.each([parseReceiptMessage, parseReceiptFile, parseProofBundle])(
  'refuses text that is no JSON without keeping it',
  (parse) => {
    const error = refusal(() => parse('SECRET words'))
    expect(error.code).toBe('BAD_JSON')
    expect(error.message).not.toContain('SECRET')
    expect(error.cause).toBeUndefined()
    for (const text of ['{}', '[]', 'null', '"x"']) expect(refusal(() => parse(text)).code).toBe('BAD_SHAPE')
  },
)

test('takes exactly the decimals that it writes, up to 78 digits', () => {
  const longest = '9'.repeat(78)
  expect(v.parse(decimal, longest)).toBe(BigInt(longest))
  expect(v.parse(decimal, '0')).toBe(0n)
  for (const bad of ['', '00', '01', '-1', '+1', '1.0', '1e3', '0x1', ' 1', '1\n', `1${longest}`, 1, null]) {
    expect(v.is(decimal, bad)).toBe(false)
  }
})

test.each([1, 8, 32, 53, 64])('bounds an integer of %s bits at its last value', (bits) => {
  const last = 2n ** BigInt(bits) - 1n
  expect(v.parse(uintOf(bits), last.toString())).toBe(last)
  expect(v.is(uintOf(bits), (last + 1n).toString())).toBe(false)
})

test('takes hex of exactly its length, in either case, and lowers it', () => {
  expect(v.parse(hexOf(2), '0xAbCd')).toBe('0xabcd')
  for (const bad of ['abcd', '0xabc', '0xabcdef', '0xabcg', '0XABCD', '0xabcd\n', ''])
    expect(v.is(hexOf(2), bad)).toBe(false)
  expect(v.is(address, HASH)).toBe(false)
  expect(v.is(hash, ADDRESS)).toBe(false)
})

test('bounds base64 and takes the canonical form only', () => {
  const four = base64Of(4)
  expect(v.parse(four, toBase64(BYTES))).toEqual(BYTES)
  expect(v.parse(four, '')).toEqual(new Uint8Array())
  for (const bad of ['AQID+', 'AQID-g==', 'AQID+h==', 'AQID+g', ' AQID', 7]) expect(v.is(four, bad)).toBe(false)
  for (let length = 0; length < 20; length++) {
    for (let max = 0; max < 20; max++) expect(v.is(base64Of(max), toBase64(new Uint8Array(length)))).toBe(length <= max)
  }
})

test.each(['//elsewhere', '/a//b', '/a/', 'a', 'https://elsewhere', '/a?b', '/a#b', '/..', '/', '/%2e', '/a/b/c/d/e'])(
  'takes no relay resource at %s: it must stay below the relay',
  (path) => {
    const directory = { operator: 'x', gateways: [{ name: 'a', path }] }
    expect(() => parseShape(RelayDirectorySchema, directory, 'directory')).toThrow(WireError)
  },
)

test('writes bigints as decimal strings, on one line unless told', () => {
  expect(toJson({ a: 2n ** 64n, b: [1n] })).toBe('{"a":"18446744073709551616","b":["1"]}')
  expect(toJson({ a: 1n }, 2)).toBe('{\n  "a": "1"\n}')
  expect(parseJson(v.object({ a: decimal }), toJson({ a: 5n }), 'x')).toEqual({ a: 5n })
})
