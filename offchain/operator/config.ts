/** Configuration of an operator agent. @module */
import * as v from 'valibot'
import { type Listen, ListenSchema } from '#node/config/listen.ts'
import type { Hex } from '#protocol/bytes.ts'
import { address, type Schema, uintOf } from '#protocol/wire/json.ts'

export type OperatorConfig = {
  /** Health and readiness; the deposit desk too, where there is one. */
  readonly listen: Listen
  /** The agent interface of the enclave, gateway or issuer. */
  readonly gatewayAgentUrl: string
  readonly rpcUrl: string
  readonly registry: Hex
  /** File with the operator's private key, hex. It pays for registration. */
  readonly accountKeyFile: string
  /** Every head is delivered to each of them. */
  readonly aggregators: readonly string[]
  /** The outbox: leaves and heads that are not everywhere yet. */
  readonly dataFolder: string
  /** For an issuer's host: sells deposits over HTTP 402 (deposits/depositApp.ts). The key's account pays the gas. */
  readonly deposits?: { readonly vault: Hex; readonly accountKeyFile: string }
  /** Block from which the vault exists, or any before: an issuer's agent reads the vault's events from there. */
  readonly fromBlock: bigint
  /** The operator's own page, with a button that draws earnings: on loopback, or wherever nobody else comes. */
  readonly page?: Listen
  /** Draws earnings by itself as soon as they are this much, in units. Without it `sealpath earnings withdraw` or the page does. */
  readonly payouts?: { readonly unitsMin: bigint }
  readonly pollMs: number
  readonly evidenceRenewalSeconds: number
  /** Age at which sealing keys are replaced. The registry knows a document for seven days, and two at a time: half of that, unless told. */
  readonly keyRotationSeconds: number
}

/** 3.5 days: keys that live seven take turns in two slots. */
const KEY_ROTATION_SECONDS = 302_400

const url = v.pipe(v.string(), v.url())
const positive = v.pipe(v.number(), v.integer(), v.minValue(1))

export const OperatorConfigSchema: Schema<OperatorConfig> = v.object({
  listen: ListenSchema,
  gatewayAgentUrl: url,
  rpcUrl: url,
  registry: address,
  accountKeyFile: v.string(),
  aggregators: v.pipe(v.array(url), v.minLength(1), v.maxLength(16)),
  dataFolder: v.string(),
  deposits: v.exactOptional(v.object({ vault: address, accountKeyFile: v.string() })),
  fromBlock: v.optional(uintOf(64), '0'),
  page: v.exactOptional(ListenSchema),
  payouts: v.exactOptional(v.object({ unitsMin: uintOf(64) })),
  pollMs: v.optional(positive, 200),
  evidenceRenewalSeconds: v.optional(positive, 3_600),
  keyRotationSeconds: v.optional(v.pipe(positive, v.maxValue(KEY_ROTATION_SECONDS)), KEY_ROTATION_SECONDS),
})
