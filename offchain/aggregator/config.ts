/** Configuration of an aggregator. @module */
import * as v from 'valibot'
import { type PublicListen, PublicListenSchema } from '#node/config/listen.ts'
import type { Hex } from '#protocol/bytes.ts'
import { DELIVERY_LEAVES_MAX } from '#protocol/wire/aggregatorApi.ts'
import { address, type Schema, uintOf } from '#protocol/wire/json.ts'

export type AggregatorConfig = {
  /** Where operator agents and apps reach it. */
  readonly listen: PublicListen
  /** Endpoints of the chain. Two guard against one that lies; three against one that lies and one that fails. */
  readonly rpcUrls: readonly string[]
  /** How many endpoints must say the same; two by default, where there are two. */
  readonly rpcQuorum?: number | undefined
  readonly deployment: AggregatorDeployment
  /**
   * Files with the private keys of the sending accounts, hex. Each has at most one transaction under way, pays for it and earns the settler's share.
   */
  readonly accountKeyFiles: readonly string[]
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
  /** So much in fees that the chain does not know is settled at once, in units of OPG. */
  readonly valueMax: bigint
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
  /** Without it everything is settled when it is time. */
  readonly economics?: EconomicsPolicy | undefined
}

/** Settling waits while it costs more than it pays. */
export type EconomicsPolicy = {
  /** OPG for one native coin: a decimal number, or where one is served. */
  readonly opgPerCoin: string | PriceAddress
  /** What has waited for so long is settled at any cost, in seconds. */
  readonly patienceSeconds: number
  /** Contract that tells the price of publishing bytes, on chains that take one (OP stack: GasPriceOracle). */
  readonly dataFeeOracle?: Hex | undefined
}

/** A JSON document with a decimal number or text of one at `pointer` (RFC 6901). */
export type PriceAddress = { readonly url: string; readonly pointer: string; readonly refreshSeconds: number }

export type AggregatorLimits = {
  /** Largest body of a delivery, in bytes of JSON. */
  readonly bodyBytesMax: number
  /** Bodies of deliveries taken in at once, in bytes; above it agents are told to come back. */
  readonly openBytesMax: number
  /** Nodes of logs kept in memory for proofs, about 80 bytes each. */
  readonly cachedLeavesMax: number
}

export const SETTLE_POLICY: SettlePolicy = {
  everySeconds: 5,
  leavesMax: 1_000_000,
  valueMax: 1_000_000_000n,
  headsMax: 256,
  gasMax: 12_000_000,
  resubmitSeconds: 12,
  pollMs: 500,
  leaseSeconds: 4,
}

export const AGGREGATOR_LIMITS: AggregatorLimits = {
  // Base64 takes four characters for three bytes; the head and the field names fit the rest.
  bodyBytesMax: Math.ceil((DELIVERY_LEAVES_MAX * 32) / 3) * 4 + 4_096,
  openBytesMax: 67_108_864,
  cachedLeavesMax: 524_288,
}

const url = v.pipe(v.string(), v.url())
const positive = v.pipe(v.number(), v.integer(), v.minValue(1))
const keyFiles = v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(16))
const decimal = v.pipe(
  v.string(),
  v.regex(/^(0|[1-9][0-9]{0,12})(\.[0-9]{1,6})?$/, 'expected a decimal number of at most six places'),
  v.check((text) => Number(text) > 0, 'expected more than 0'),
)
const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535))

export const AggregatorConfigSchema: Schema<AggregatorConfig> = v.object({
  listen: PublicListenSchema,
  rpcUrls: v.pipe(v.array(url), v.minLength(1), v.maxLength(16)),
  rpcQuorum: v.exactOptional(positive),
  deployment: v.object({
    chainId: positive,
    registry: address,
    settlement: address,
    fromBlock: v.optional(uintOf(64), '0'),
  }),
  accountKeyFiles: keyFiles,
  database: v.union([v.object({ url: v.string() }), v.object({ folder: v.string(), port })]),
  settle: v.optional(
    v.object({
      everySeconds: v.optional(v.pipe(v.number(), v.minValue(0)), SETTLE_POLICY.everySeconds),
      leavesMax: v.optional(positive, SETTLE_POLICY.leavesMax),
      valueMax: v.optional(uintOf(64), SETTLE_POLICY.valueMax.toString()),
      headsMax: v.optional(v.pipe(positive, v.maxValue(SETTLE_POLICY.headsMax)), SETTLE_POLICY.headsMax),
      gasMax: v.optional(v.pipe(positive, v.maxValue(SETTLE_POLICY.gasMax)), SETTLE_POLICY.gasMax),
      resubmitSeconds: v.optional(positive, SETTLE_POLICY.resubmitSeconds),
      pollMs: v.optional(positive, SETTLE_POLICY.pollMs),
      leaseSeconds: v.optional(positive, SETTLE_POLICY.leaseSeconds),
      depth: v.exactOptional(v.object({ safe: positive, final: positive })),
      economics: v.exactOptional(
        v.object({
          opgPerCoin: v.union([
            decimal,
            v.object({ url, pointer: v.pipe(v.string(), v.startsWith('/')), refreshSeconds: v.optional(positive, 60) }),
          ]),
          patienceSeconds: v.optional(positive, 3_600),
          dataFeeOracle: v.exactOptional(address),
        }),
      ),
    }),
    {},
  ),
  limits: v.optional(
    v.object({
      bodyBytesMax: v.optional(positive, AGGREGATOR_LIMITS.bodyBytesMax),
      openBytesMax: v.optional(positive, AGGREGATOR_LIMITS.openBytesMax),
      cachedLeavesMax: v.optional(positive, AGGREGATOR_LIMITS.cachedLeavesMax),
    }),
    {},
  ),
})
