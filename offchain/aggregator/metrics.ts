/** What an aggregator counts. Names and meanings: docs/spec.md section 8. @module */
import { Counter, type Registry } from 'prom-client'
import { addGauge, addGauges } from '#node/metrics.ts'
import type { AggregatorErrorCode } from '#protocol/wire/aggregatorApi.ts'
import type { Intake } from './intake.ts'
import type { SettleLoop } from './settleLoop.ts'
import type { LogStore, SettlementStore } from './store.ts'
import type { SettleObserver } from './submitter.ts'

export type AggregatorMetrics = {
  readonly settling: SettleObserver
  /** Of a delivery (`heads`) or a clearing: `accepted` or why not. */
  readonly taken: (kind: 'heads' | 'clearings', outcome: 'accepted' | AggregatorErrorCode) => void
}

export type AggregatorGauges = {
  readonly intake: Intake
  readonly loops: readonly SettleLoop[]
  readonly logs: Pick<LogStore, 'readTotals'>
  readonly settlement: Pick<SettlementStore, 'readSettlementTotals'>
}

/** Counters that the parts of an aggregator call. */
export function countAggregator(registry: Registry): AggregatorMetrics {
  const registers = [registry]
  const taken = new Counter({
    name: 'sealpath_aggregator_taken_total',
    help: 'deliveries of heads and of clearings by what was answered',
    labelNames: ['kind', 'outcome'],
    registers,
  })
  const sealed = new Counter({
    name: 'sealpath_aggregator_sealed_total',
    help: 'transactions made, by kind',
    labelNames: ['kind'],
    registers,
  })
  const moved = new Counter({
    name: 'sealpath_aggregator_transactions_total',
    help: 'transactions that came to a state',
    labelNames: ['state'],
    registers,
  })
  const attempts = new Counter({
    name: 'sealpath_aggregator_attempts_total',
    help: 'signed attempts at transactions, replacements included',
    registers,
  })
  const gas = new Counter({ name: 'sealpath_aggregator_gas_total', help: 'gas of included transactions', registers })
  const fees = new Counter({
    name: 'sealpath_aggregator_expected_fee_units_total',
    help: 'settler fees expected of the calls made, in units of OPG',
    registers,
  })
  const costs = new Counter({
    name: 'sealpath_aggregator_expected_cost_units_total',
    help: 'most that the calls made cost, in units of OPG at the known price',
    registers,
  })
  return {
    taken: (kind, outcome) => taken.inc({ kind, outcome }),
    settling: {
      sealed(kind, balance) {
        sealed.inc({ kind })
        fees.inc(Number(balance?.fee ?? 0n))
        costs.inc(Number(balance?.cost ?? 0n))
      },
      moved(before, state) {
        if (before.name !== state.name) moved.inc({ state: state.name })
        if (state.name === 'included') gas.inc(Number(state.inclusion.gasUsed))
        const count = (of: typeof state) => ('attempts' in of ? of.attempts.length : 0)
        attempts.inc(Math.max(0, count(state) - count(before)))
      },
    },
  }
}

/** What is read when somebody asks. */
export function gaugeAggregator(registry: Registry, { intake, loops, logs, settlement }: AggregatorGauges): void {
  const gauge = (name: string, help: string, read: () => number | Promise<number>) =>
    addGauge(registry, `sealpath_aggregator_${name}`, help, read)
  gauge('open_bytes', 'bodies of deliveries under way', () => intake.openBytes)
  gauge('leading', 'sending accounts that this process leads', () => count(loops, ({ health }) => health.isLeader))
  gauge('failing', 'sending accounts whose last round broke off', () =>
    count(loops, ({ health }) => health.failure !== undefined),
  )
  gauge('needing_help', 'sending accounts that cannot go on by themselves', () =>
    count(loops, ({ health }) => health.trouble !== undefined),
  )
  addGauges(
    registry,
    'sealpath_aggregator_held',
    'leaves and logs, batches on chain, and what waits for it',
    'what',
    async () => {
      const [{ leaves, enclaves }, totals] = await Promise.all([logs.readTotals(), settlement.readSettlementTotals()])
      const { batches, unsettledHeads, pendingClearings } = totals
      return {
        leaves: Number(leaves),
        logs: enclaves,
        batches,
        unsettled_heads: unsettledHeads,
        pending_clearings: pendingClearings,
      }
    },
  )
}

function count<T>(of: readonly T[], holds: (one: T) => boolean): number {
  return of.filter(holds).length
}
