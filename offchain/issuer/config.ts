/** Configuration of an issuer. @module */
import * as v from 'valibot'
import { type Listen, ListenSchema, type PublicListen, PublicListenSchema } from '#node/config/listen.ts'
import {
  type AttesterConfig,
  AttesterConfigSchema,
  type EnclaveChain,
  EnclaveChainSchema,
} from '#node/enclave/config.ts'
import { KEY_OVERLAP_SECONDS } from '#node/enclave/sealingKeys.ts'
import type { Hex } from '#protocol/bytes.ts'
import { address, hash, type Schema, uintOf } from '#protocol/wire/json.ts'
import type { KeysConfig } from './keysetKeys.ts'

export type IssuerConfig = {
  /** Where relays and gateways reach it. */
  readonly listen: PublicListen
  /** Where its own host's operator agent reaches it. Never open to anyone else. */
  readonly agentListen: Listen
  readonly chain: EnclaveChain & { readonly vault: Hex; readonly fromBlock: bigint }
  /** At least two, of different providers. */
  readonly rpcUrls: readonly string[]
  readonly attester: AttesterConfig
  /** How long requests still open with sealing keys that were replaced, in seconds. */
  readonly keyOverlapSeconds: number
  readonly keys: KeysConfig
  /** Measurements that keysets are handed to, besides our own. The registry must call their enclaves active issuers all the same. */
  readonly successors: readonly Hex[]
  /** The embedded PostgreSQL's folder and port, or the URL of another. DATABASE_URL wins over both. */
  readonly database: { readonly url: string } | { readonly folder: string; readonly port: number }
  readonly witnesses: WitnessesConfig
  readonly reserve: { readonly seconds: number; readonly renewedSecondsMax: number }
  readonly limits: IssuerLimits
}

/** `urls` of aggregators; `quorum` of them acknowledge before anything is answered. */
export type WitnessesConfig = { readonly urls: readonly string[]; readonly quorum: number }

export type IssuerLimits = {
  /** Requests answered at once. */
  readonly openMax: number
  /** Encapsulated keys remembered against replay, per key. */
  readonly replaysMax: number
  /** How far the date of a request may be from ours, in seconds. */
  readonly dateWindowSeconds: number
  /** How long this enclave may go on without reading its name in the vault, in seconds. */
  readonly leaseSeconds: number
}

export const ISSUER_LIMITS: IssuerLimits = {
  openMax: 1_024,
  replaysMax: 1_000_000,
  dateWindowSeconds: 300,
  leaseSeconds: 20,
}

const positive = v.pipe(v.number(), v.integer(), v.minValue(1))
const url = v.pipe(v.string(), v.url())
/** A century at most: times on chain have 40 bits. */
const days = v.pipe(positive, v.maxValue(36_500))

export const IssuerConfigSchema: Schema<IssuerConfig> = v.object({
  listen: PublicListenSchema,
  agentListen: ListenSchema,
  chain: v.intersect([EnclaveChainSchema, v.object({ vault: address, fromBlock: v.optional(uintOf(64), '0') })]),
  rpcUrls: v.pipe(v.array(url), v.minLength(2), v.maxLength(16)),
  attester: AttesterConfigSchema,
  keyOverlapSeconds: v.optional(positive, KEY_OVERLAP_SECONDS),
  keys: v.union([
    v.strictObject({
      generate: v.object({ signDays: days, spendDays: days, exitDays: v.pipe(days, v.minValue(365)) }),
    }),
    v.strictObject({
      from: v.pipe(v.array(url), v.minLength(1), v.maxLength(16)),
      predecessors: v.exactOptional(v.pipe(v.array(hash), v.maxLength(64))),
    }),
    v.strictObject({
      files: v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(64)),
      allowDevelopment: v.exactOptional(v.boolean()),
    }),
  ]),
  successors: v.optional(v.pipe(v.array(hash), v.maxLength(64)), []),
  database: v.union([v.object({ url }), v.object({ folder: v.string(), port: positive })]),
  witnesses: v.pipe(
    v.object({ urls: v.pipe(v.array(url), v.minLength(1), v.maxLength(16)), quorum: positive }),
    v.check(({ urls }) => new Set(urls).size === urls.length, 'expected witnesses that all differ'),
    v.check(({ urls, quorum }) => quorum <= urls.length, 'expected a quorum of at most all witnesses'),
  ),
  reserve: v.optional(
    v.pipe(
      v.object({ seconds: v.optional(positive, 300), renewedSecondsMax: v.optional(positive, 3_600) }),
      v.check(({ seconds, renewedSecondsMax }) => seconds <= renewedSecondsMax, 'expected renewals to make it longer'),
    ),
    {},
  ),
  limits: v.optional(
    v.object({
      openMax: v.optional(positive, ISSUER_LIMITS.openMax),
      replaysMax: v.optional(positive, ISSUER_LIMITS.replaysMax),
      dateWindowSeconds: v.optional(positive, ISSUER_LIMITS.dateWindowSeconds),
      leaseSeconds: v.optional(positive, ISSUER_LIMITS.leaseSeconds),
    }),
    {},
  ),
})
