/** Configuration of a gateway. @module */
import * as v from 'valibot'
import { type Listen, ListenSchema, type PublicListen, PublicListenSchema } from '#node/config/listen.ts'
import {
  type AttesterConfig,
  AttesterConfigSchema,
  type EnclaveChain,
  EnclaveChainSchema,
} from '#node/enclave/config.ts'
import type { TickPolicy } from '#node/enclave/receiptLog.ts'
import { KEY_OVERLAP_SECONDS } from '#node/enclave/sealingKeys.ts'
import type { Hex } from '#protocol/bytes.ts'
import { type PriceList, PriceListSchema } from '#protocol/prices.ts'
import type { ClaimSource } from '#protocol/receipt/receipt.ts'
import { address, hash, type Schema } from '#protocol/wire/json.ts'
import { CAPABILITIES, type Capability } from './backends/backend.ts'
import type { MeasuredFile } from './backends/measuredFiles.ts'
import { MODEL_SERVERS, type ModelServer } from './backends/modelServers.ts'
import { type GatewayLimits, GatewayLimitsSchema } from './limits.ts'

export type GatewayConfig = {
  /** Where relays reach it. */
  readonly listen: PublicListen
  /** Where its own host's operator agent reaches it. Never open to anyone else. */
  readonly agentListen: Listen
  readonly chain: EnclaveChain
  readonly attester: AttesterConfig
  /** How long requests still open with sealing keys that were replaced, in seconds. */
  readonly keyOverlapSeconds: number
  readonly backends: readonly BackendConfig[]
  readonly prices: PriceList
  /** Whose credits it takes. Without an issuer its answers cost nothing to the client, and nothing clears for it. */
  readonly issuer?: IssuerConfig
  readonly tick: TickPolicy
  readonly limits: GatewayLimits
}

export type BackendConfig =
  /** The demo model in this process; another GGUF file by `modelPath`, which is `measured` when its digest is given, the operator's word otherwise. */
  | {
      readonly kind: 'embedded'
      readonly modelPath?: string
      readonly modelSha256?: string
      readonly answersMax?: number
    }
  /**
   * Any OpenAI-compatible server, by its base URL with the version. `source` says who vouches for the model: "measured" for a server inside
   * the same image on loopback whose model is among `measuredFiles`, "proxied" for an https host, "operator" otherwise. The key is read from `apiKeyFile`. `server` says which
   * parameters it honours, the lists beside it where this one differs; what it does not is refused. `answersMax` bounds what it works on at once.
   */
  | {
      readonly kind: 'openai'
      readonly url: string
      readonly models: readonly UpstreamModelConfig[]
      readonly source: ClaimSource
      readonly apiKeyFile?: string
      /** The model's files by their digests; for `measured` at least one. */
      readonly measuredFiles?: readonly MeasuredFile[]
      /** CA certificates in PEM in place of Node's, and keys of which one of the server's certificates must have one (pinnedTls.ts). */
      readonly caFile?: string
      readonly certificatePins?: readonly string[]
      readonly server?: ModelServer
      readonly acceptedParameters?: readonly string[]
      readonly refusedParameters?: readonly string[]
      readonly cacheFields?: boolean
      readonly idleTimeoutMs?: number
      readonly answersMax?: number
    }

export type IssuerConfig = {
  /** The issuer, and those that may take its place. */
  readonly urls: readonly string[]
  /** Address of CreditVault, which stands behind the credits. */
  readonly vault: Hex
  /** Reference values of issuers. Needed on every chain that is not local. */
  readonly measurements?: readonly Hex[]
}

export type UpstreamModelConfig = {
  readonly name: string
  readonly upstreamName?: string
  readonly contextTokens?: number
  /** Default: chat, and completions except from a server of the kind "openai". */
  readonly serves?: readonly Capability[]
}

const positive = v.pipe(v.number(), v.integer(), v.minValue(1))
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits in lower case'))
const name = v.pipe(v.string(), v.minLength(1), v.maxLength(128))
const backend: Schema<BackendConfig> = v.variant('kind', [
  v.object({
    kind: v.literal('embedded'),
    modelPath: v.exactOptional(v.string()),
    modelSha256: v.exactOptional(sha256),
    answersMax: v.exactOptional(positive),
  }),
  v.object({
    kind: v.literal('openai'),
    url: v.pipe(v.string(), v.url()),
    models: v.pipe(
      v.array(
        v.object({
          name,
          upstreamName: v.exactOptional(name),
          contextTokens: v.exactOptional(positive),
          serves: v.exactOptional(v.pipe(v.array(v.picklist(CAPABILITIES)), v.minLength(1))),
        }),
      ),
      v.minLength(1),
    ),
    source: v.picklist(['measured', 'proxied', 'operator']),
    apiKeyFile: v.exactOptional(v.string()),
    measuredFiles: v.exactOptional(
      v.pipe(v.array(v.object({ path: v.string(), sha256 })), v.minLength(1), v.maxLength(1_024)),
    ),
    caFile: v.exactOptional(v.string()),
    certificatePins: v.exactOptional(v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(16))),
    server: v.exactOptional(v.picklist(MODEL_SERVERS)),
    acceptedParameters: v.exactOptional(v.array(name)),
    refusedParameters: v.exactOptional(v.array(name)),
    cacheFields: v.exactOptional(v.boolean()),
    idleTimeoutMs: v.exactOptional(positive),
    answersMax: v.exactOptional(positive),
  }),
])

export const GatewayConfigSchema: Schema<GatewayConfig> = v.object({
  listen: PublicListenSchema,
  agentListen: ListenSchema,
  chain: EnclaveChainSchema,
  attester: AttesterConfigSchema,
  keyOverlapSeconds: v.optional(positive, KEY_OVERLAP_SECONDS),
  backends: v.pipe(v.array(backend), v.minLength(1), v.maxLength(64)),
  prices: PriceListSchema,
  issuer: v.exactOptional(
    v.object({
      urls: v.pipe(v.array(v.pipe(v.string(), v.url())), v.minLength(1), v.maxLength(16)),
      vault: address,
      measurements: v.exactOptional(v.array(hash)),
    }),
  ),
  tick: v.optional(v.object({ receipts: v.optional(positive, 1), seconds: v.optional(positive, 1) }), {}),
  limits: v.optional(GatewayLimitsSchema, {}),
})
