/** Configuration of a relay. @module */
import * as v from 'valibot'
import type { Schema } from '#protocol/wire/json.ts'

export type RelayConfig = {
  readonly listen: { readonly host: string; readonly port: number }
  /** Who runs this relay, as its operator declares it. Shown to clients, verified by nobody. */
  readonly operator: string
  /** The gateways it forwards to, and no others. Names become paths: a-z, 0-9 and hyphens. */
  readonly gateways: readonly RelayedGateway[]
  readonly limits: RelayLimits
}

export type RelayedGateway = { readonly name: string; readonly url: string }

export type RelayLimits = {
  /** Largest encapsulated request, in bytes. */
  readonly requestBytesMax: number
  /** Requests under way at once; above it clients are told to come back. */
  readonly openRequestsMax: number
  /** How long a gateway may take to begin its answer, in milliseconds. */
  readonly firstByteTimeoutMs: number
}

export const RELAY_LIMITS: RelayLimits = {
  requestBytesMax: 32 * 1024 * 1024,
  openRequestsMax: 2_000,
  firstByteTimeoutMs: 120_000,
}

const limit = v.pipe(v.number(), v.integer(), v.minValue(1))

export const RelayConfigSchema: Schema<RelayConfig> = v.object({
  listen: v.object({ host: v.string(), port: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)) }),
  operator: v.pipe(v.string(), v.minLength(1), v.maxLength(128)),
  gateways: v.pipe(
    v.array(v.object({ name: v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,64}$/)), url: v.pipe(v.string(), v.url()) })),
    v.minLength(1),
    v.maxLength(1_000),
  ),
  limits: v.optional(
    v.object({ requestBytesMax: limit, openRequestsMax: limit, firstByteTimeoutMs: limit }),
    RELAY_LIMITS,
  ),
})
