/** Configuration of a relay. @module */
import * as v from 'valibot'
import { type PublicListen, PublicListenSchema } from '#node/config/listen.ts'
import type { Schema } from '#protocol/wire/json.ts'

export type RelayConfig = {
  /** Where clients reach it. */
  readonly listen: PublicListen
  /** Who runs this relay, as its operator declares it. Shown to clients, verified by nobody. */
  readonly operator: string
  /** The gateways it forwards to, and no others. Names become paths: a-z, 0-9 and hyphens. */
  readonly gateways: readonly RelayedGateway[]
  /**
   * The header in which a TLS terminator in front of this relay states the client's address, `x-forwarded-for` for one; the last address in it
   * counts. To be set only where nobody reaches the relay past the terminator: whoever does could name any address. Without it, and in
   * requests that lack the header, the connection's own address counts.
   */
  readonly clientAddressHeader?: string
  readonly limits: RelayLimits
}

/**
 * `caFile` (PEM) names the authorities that its certificate must come from, or is that certificate itself where it is signed by itself; all others
 * are refused then. Without it the authorities count that Node knows.
 */
export type RelayedGateway = { readonly name: string; readonly url: string; readonly caFile?: string }

export type RelayLimits = {
  /** Largest encapsulated request, in bytes. */
  readonly requestBytesMax: number
  /** Requests under way at once; above it clients are told to come back. */
  readonly openRequestsMax: number
  /** The same for each gateway, so that one which answers slowly or never cannot use up the relay for the others. */
  readonly openRequestsPerGatewayMax: number
  /** The same for each client address: an IPv4 address or the /64 of an IPv6 one. */
  readonly openRequestsPerAddressMax: number
  /** Requests that a client address may make in a minute, at once or spread. Asking for a gateway's documents counts as well. */
  readonly requestsPerMinute: number
  /** How long a salt serves under which addresses are counted, in milliseconds. After it nothing tells who was counted. */
  readonly addressMemoryMs: number
  /** Client addresses counted at once; the longest known is forgotten for a new one. */
  readonly addressesMax: number
  /** How long connecting to a gateway may take, in milliseconds. */
  readonly connectTimeoutMs: number
  /** How long a gateway may take to begin its answer once it has the request, in milliseconds. */
  readonly firstByteTimeoutMs: number
  /** How long a gateway may send nothing of an answer it began, or take nothing of a request, in milliseconds. */
  readonly gatewayStallTimeoutMs: number
  /** How long a client may send nothing of a request it began, or take nothing of its answer, in milliseconds. */
  readonly clientStallTimeoutMs: number
  /** How long a client may take to send a request's head, in milliseconds. Connections that say nothing end after it too. */
  readonly headersTimeoutMs: number
  /** How long a client may take to send a whole request, in milliseconds. */
  readonly uploadTimeoutMs: number
  /** How long a connection is kept for the client's next request, in milliseconds. */
  readonly keepAliveTimeoutMs: number
  /** Connections of clients at once; above it new ones are closed unread. */
  readonly connectionsMax: number
  /** How long a gateway's documents may take, in milliseconds. */
  readonly documentTimeoutMs: number
  /** How long answers under way may take to end once the relay was told to stop, in milliseconds. */
  readonly drainTimeoutMs: number
}

export const RELAY_LIMITS: RelayLimits = {
  requestBytesMax: 32 * 1024 * 1024,
  openRequestsMax: 4_000,
  openRequestsPerGatewayMax: 2_000,
  openRequestsPerAddressMax: 200,
  requestsPerMinute: 1_200,
  addressMemoryMs: 300_000,
  addressesMax: 100_000,
  connectTimeoutMs: 10_000,
  firstByteTimeoutMs: 120_000,
  gatewayStallTimeoutMs: 120_000,
  clientStallTimeoutMs: 30_000,
  headersTimeoutMs: 10_000,
  uploadTimeoutMs: 300_000,
  keepAliveTimeoutMs: 5_000,
  connectionsMax: 10_000,
  documentTimeoutMs: 10_000,
  drainTimeoutMs: 10_000,
}

/** A setting that may be left out. */
function limit(name: keyof RelayLimits): v.OptionalSchema<typeof positive, number> {
  return v.optional(positive, RELAY_LIMITS[name])
}

const positive = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2_147_483_647))

const limits = v.pipe(
  v.strictObject({
    requestBytesMax: limit('requestBytesMax'),
    openRequestsMax: limit('openRequestsMax'),
    openRequestsPerGatewayMax: limit('openRequestsPerGatewayMax'),
    openRequestsPerAddressMax: limit('openRequestsPerAddressMax'),
    requestsPerMinute: limit('requestsPerMinute'),
    addressMemoryMs: limit('addressMemoryMs'),
    addressesMax: limit('addressesMax'),
    connectTimeoutMs: limit('connectTimeoutMs'),
    firstByteTimeoutMs: limit('firstByteTimeoutMs'),
    gatewayStallTimeoutMs: limit('gatewayStallTimeoutMs'),
    clientStallTimeoutMs: limit('clientStallTimeoutMs'),
    headersTimeoutMs: limit('headersTimeoutMs'),
    uploadTimeoutMs: limit('uploadTimeoutMs'),
    keepAliveTimeoutMs: limit('keepAliveTimeoutMs'),
    connectionsMax: limit('connectionsMax'),
    documentTimeoutMs: limit('documentTimeoutMs'),
    drainTimeoutMs: limit('drainTimeoutMs'),
  }),
  v.check(
    ({ headersTimeoutMs, uploadTimeoutMs }) => headersTimeoutMs <= uploadTimeoutMs,
    'headersTimeoutMs must not be longer than uploadTimeoutMs, which counts from the same moment',
  ),
)

export const RelayConfigSchema: Schema<RelayConfig> = v.object({
  listen: PublicListenSchema,
  operator: v.pipe(v.string(), v.minLength(1), v.maxLength(128)),
  gateways: v.pipe(
    v.array(
      v.object({
        name: v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,64}$/)),
        url: v.pipe(v.string(), v.url(), v.regex(/^https?:/, 'expected an http or https URL')),
        caFile: v.exactOptional(v.string()),
      }),
    ),
    v.minLength(1),
    v.maxLength(1_000),
    v.check(
      (gateways) => new Set(gateways.map(({ name }) => name)).size === gateways.length,
      'two gateways of one name',
    ),
    v.check(
      (gateways) => gateways.every(({ url, caFile }) => caFile === undefined || url.startsWith('https:')),
      'a gateway with a caFile whose URL does not begin with https',
    ),
  ),
  clientAddressHeader: v.exactOptional(
    v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,64}$/, 'expected a name in lower case')),
  ),
  limits: v.optional(limits, {}),
})
