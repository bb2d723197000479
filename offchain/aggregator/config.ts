/** Configuration of an aggregator. @module */
import * as v from 'valibot'
import type { Hex } from '#protocol/bytes.ts'
import { DELIVERY_LEAVES_MAX } from '#protocol/wire/aggregatorApi.ts'
import { address, type Schema, uintOf } from '#protocol/wire/json.ts'

export type AggregatorConfig = {
  readonly listen: { readonly host: string; readonly port: number }
  readonly rpcUrl: string
  readonly deployment: AggregatorDeployment
  /** File with the private key of the sending account, hex. It pays for settlement and earns the settler's share. */
  readonly accountKeyFile: string
  /** The embedded PostgreSQL's folder and port, or the URL of another. DATABASE_URL wins over both. */
  readonly database: { readonly url: string } | { readonly folder: string; readonly port: number }
  readonly settle: SettlePolicy
  readonly limits: AggregatorLimits
}

/** The part of a deployment file that an aggregator needs; more fields are ignored. */
export type AggregatorDeployment = {
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  /** Block to read events from. */
  readonly fromBlock: bigint
}

/** When and how heads are settled. */
export type SettlePolicy = {
  /** A head waits at most this long for others to share its batch. */
  readonly everySeconds: number
  /** This many unsettled leaves are settled at once. */
  readonly leavesMax: number
  /** Heads in one call; the contract takes at most 256. */
  readonly headsMax: number
  /** Gas of one call; what would need more is split. */
  readonly gasMax: number
  /** Without inclusion for this long, the fee is raised. 48 s on L1, 12 s on L2. */
  readonly resubmitSeconds: number
  /** Pause between two looks at the chain while nothing is due. */
  readonly pollMs: number
  /** How long a leader that fell silent keeps the sending account. */
  readonly leaseSeconds: number
  /** Blocks after which an inclusion counts as safe and as final, for nodes without the tags of those names. */
  readonly depth?: { readonly safe: number; readonly final: number } | undefined
}

export type AggregatorLimits = {
  /** Largest body of a delivery, in bytes of JSON. */
  readonly bodyBytesMax: number
  /** Deliveries taken in at once; above it agents are told to come back. */
  readonly openDeliveriesMax: number
  /** Leaves of logs kept in memory for proofs, 64 bytes each. */
  readonly cachedLeavesMax: number
}

export const SETTLE_POLICY: SettlePolicy = {
  everySeconds: 5,
  leavesMax: 1_000_000,
  headsMax: 256,
  gasMax: 12_000_000,
  resubmitSeconds: 12,
  pollMs: 500,
  leaseSeconds: 15,
}

export const AGGREGATOR_LIMITS: AggregatorLimits = {
  // Base64 takes four characters for three bytes; the head and the field names fit the rest.
  bodyBytesMax: Math.ceil((DELIVERY_LEAVES_MAX * 32) / 3) * 4 + 4_096,
  openDeliveriesMax: 4,
  cachedLeavesMax: 4_194_304,
}

const url = v.pipe(v.string(), v.url())
const positive = v.pipe(v.number(), v.integer(), v.minValue(1))
const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535))

export const AggregatorConfigSchema: Schema<AggregatorConfig> = v.object({
  listen: v.object({ host: v.string(), port }),
  rpcUrl: url,
  deployment: v.object({
    chainId: positive,
    registry: address,
    settlement: address,
    fromBlock: v.optional(uintOf(64), '0'),
  }),
  accountKeyFile: v.string(),
  database: v.union([v.object({ url: v.string() }), v.object({ folder: v.string(), port })]),
  settle: v.optional(
    v.object({
      everySeconds: v.optional(v.pipe(v.number(), v.minValue(0)), SETTLE_POLICY.everySeconds),
      leavesMax: v.optional(positive, SETTLE_POLICY.leavesMax),
      headsMax: v.optional(v.pipe(positive, v.maxValue(SETTLE_POLICY.headsMax)), SETTLE_POLICY.headsMax),
      gasMax: v.optional(v.pipe(positive, v.maxValue(SETTLE_POLICY.gasMax)), SETTLE_POLICY.gasMax),
      resubmitSeconds: v.optional(positive, SETTLE_POLICY.resubmitSeconds),
      pollMs: v.optional(positive, SETTLE_POLICY.pollMs),
      leaseSeconds: v.optional(positive, SETTLE_POLICY.leaseSeconds),
      depth: v.exactOptional(v.object({ safe: positive, final: positive })),
    }),
    {},
  ),
  limits: v.optional(
    v.object({
      bodyBytesMax: v.optional(positive, AGGREGATOR_LIMITS.bodyBytesMax),
      openDeliveriesMax: v.optional(positive, AGGREGATOR_LIMITS.openDeliveriesMax),
      cachedLeavesMax: v.optional(positive, AGGREGATOR_LIMITS.cachedLeavesMax),
    }),
    {},
  ),
})
