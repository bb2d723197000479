import { expect, test } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { type EnclaveLedger, type LedgerView, lineKey, settlerFee } from './settlerFee.ts'
import type { StoredClearing } from './store.ts'

const A: Hex = `0x${'aa'.repeat(20)}`
const B: Hex = `0x${'bb'.repeat(20)}`
const KEYSET: Hex = `0x${'01'.repeat(32)}`
const OTHER: Hex = `0x${'02'.repeat(32)}`
const ZERO: Hex = `0x${'00'.repeat(32)}`

const head = (enclave: Hex, size: bigint, fees: bigint): EarningsHeadMessage => ({
  enclave,
  size,
  root: ZERO,
  fees,
  signature: { r: ZERO, vs: ZERO },
})
const clearing = (keyset: Hex, ...lines: [Hex, bigint][]): StoredClearing => ({
  id: ZERO,
  clearing: {
    keyset,
    issued: 1n << 40n,
    captured: 1n << 39n,
    enclaves: lines.map(([enclave, captured]) => ({ enclave, captured })),
    r: ZERO,
    vs: ZERO,
  },
})
const fresh: EnclaveLedger = { size: 0n, earned: 0n, cleared: 0n, credited: 0n, isOthersTurn: false }
const view = (ledgers: [Hex, Partial<EnclaveLedger>][], lines: [Hex, Hex, bigint][] = []): LedgerView => ({
  ledgers: new Map(ledgers.map(([enclave, ledger]) => [enclave, { ...fresh, ...ledger }])),
  clearedBy: new Map(lines.map(([keyset, enclave, units]) => [lineKey(keyset, enclave), units])),
  // 1 % for the settler, 4 % for the protocol.
  shares: { settlerBps: 100n, bothBps: 500n },
})

test('pays a share of what both sides agree on', () => {
  const call = { heads: [head(A, 10n, 10_000n)], clearings: [clearing(KEYSET, [A, 6_000n])] }
  expect(settlerFee(call, view([[A, {}]]))).toBe(60n)
  expect(settlerFee(call, view([[A, { cleared: 9_000n }]], [[KEYSET, A, 5_000n]]))).toBe(100n)
  expect(
    settlerFee(call, view([[A, { cleared: 9_000n, earned: 4_000n, credited: 4_000n }]], [[KEYSET, A, 9_000n]])),
  ).toBe(50n)
})

test('pays nothing for what only one side says', () => {
  expect(settlerFee({ heads: [head(A, 10n, 10_000n)], clearings: [] }, view([[A, {}]]))).toBe(0n)
  expect(settlerFee({ heads: [], clearings: [clearing(KEYSET, [A, 6_000n])] }, view([[A, { earned: 6_000n }]]))).toBe(
    0n,
  )
})

test("pays nothing for a head the chain has, nor in another settler's time", () => {
  const call = { heads: [head(A, 10n, 10_000n)], clearings: [] }
  expect(settlerFee(call, view([[A, { size: 10n, earned: 10_000n, cleared: 10_000n }]]))).toBe(0n)
  expect(settlerFee(call, view([[A, { cleared: 10_000n, isOthersTurn: true }]]))).toBe(0n)
  expect(settlerFee(call, view([]))).toBe(0n)
})

test('adds what several keysets cleared, and counts a keyset once', () => {
  const clearings = [
    clearing(KEYSET, [A, 1_000n], [B, 500n]),
    clearing(KEYSET, [A, 3_000n]),
    clearing(OTHER, [A, 2_000n]),
  ]
  const call = { heads: [head(A, 1n, 9_000n), head(B, 1n, 9_000n)], clearings }
  expect(
    settlerFee(
      call,
      view([
        [A, {}],
        [B, {}],
      ]),
    ),
  ).toBe(55n)
})

test('rounds cumulative amounts, never growths', () => {
  const call = (fees: bigint) => ({ heads: [head(A, 2n, fees)], clearings: [] })
  const shares = { settlerBps: 100n, bothBps: 500n }
  let credited = 0n
  let sum = 0n
  for (let fees = 1n; fees <= 1_000n; fees += 7n) {
    const ledgers = new Map([[A, { ...fresh, size: 1n, cleared: 1n << 40n, earned: credited, credited }]])
    sum += settlerFee(call(fees), { ledgers, clearedBy: new Map(), shares })
    credited = fees
  }
  const atOnce = new Map([[A, { ...fresh, cleared: 1n << 40n }]])
  expect(sum).toBe(settlerFee(call(credited), { ledgers: atOnce, clearedBy: new Map(), shares }))
})
