/** What a client can choose. @module */
import type { Hex } from '#protocol/bytes.ts'
import type { ClaimSource } from '#protocol/receipt/receipt.ts'
import type { PaddingMode } from '#protocol/shape.ts'
import type { SealedReceipt } from './sealedReceipt.ts'
import type { WalletAccount } from './wallet/account.ts'
import type { PurchaseStep } from './wallet/steps.ts'
import type { TopUp } from './wallet/topUp.ts'
import type { Wallet } from './wallet/wallet.ts'

export type ConnectOptions = {
  /** JSON-RPC endpoint of the chain that the registry is on; of several, all must say the same. */
  readonly rpcUrl: string | readonly string[]
  /** Of several relays, all are asked what they lead to, and one that is down is no harm while another is not. */
  readonly relayUrl: string | readonly string[]
  /** Address of EnclaveRegistry. Everything else follows from it. */
  readonly registry: Hex
  /** Where settled proofs are asked for. Needed for `receipt.settled()` only. An aggregator sees the asker's address and the leaf. */
  readonly aggregatorUrl?: string
  readonly policy?: GatewayPolicy
  /** Pays for requests that cost something. Its issuer is looked for behind the same relay. */
  readonly wallet?: Wallet | WalletAccount
  /** Buys more credits when the wallet runs low (`createTopUp`). Its owner closes it. */
  readonly topUp?: TopUp
  /** How answers look on the wire. `private` unless told. */
  readonly padding?: PaddingMode
  /** How long a gateway may take to begin its answer, in milliseconds; 120,000 unless told. Each attempt has as long. */
  readonly timeoutMs?: number
  /** How long an answer may be silent once it has begun, in milliseconds; 120,000 unless told. */
  readonly idleTimeoutMs?: number
  /** How many gateways a request is tried at before its first byte has come; 3 unless told, and 1 for no failover. */
  readonly attemptsMax?: number
  /** Asks relays in place of the platform's `fetch`: to see what leaves, or to take another way there. The chain and the aggregator are asked without it. */
  readonly fetch?: RelayFetch
  /** Gives up connecting. Requests have signals of their own. */
  readonly signal?: AbortSignal
  /** Told of each step, for user interfaces. */
  readonly onStep?: (step: Step) => void
  /** Told of each verified receipt. */
  readonly onReceipt?: (receipt: SealedReceipt) => void
}

export type RelayFetch = typeof globalThis.fetch

/** Which gateways are good enough. What is left out is not asked for. Hex is compared without regard to case. */
export type GatewayPolicy = {
  readonly measurements?: readonly Hex[]
  readonly operators?: readonly Hex[]
  readonly enclaves?: readonly Hex[]
  /**
   * A development root to accept, DER: documents under it prove the format, not an enclave. On a local chain (31337, 1337) the one that
   * the gateway shows is accepted, because nothing is at stake there; anywhere else none is, unless named here.
   */
  readonly developmentRoot?: Uint8Array
  /** Oldest evidence, in seconds; two hours unless told. */
  readonly evidenceAgeSecondsMax?: number
  /** The models that may be asked for, by public name, and what is asked of each: `{ 'some-model': {} }` asks nothing but the name. */
  readonly models?: Readonly<Record<string, ModelPolicy>>
  /** What any model may cost at most. */
  readonly priceLimit?: PriceLimit
}

export type ModelPolicy = {
  /** Who may vouch for the model: `measured` in the enclave's image, `proxied` to a named TLS origin, declared by its `operator`. */
  readonly sources?: readonly ClaimSource[]
  /** For `proxied`: host names of the TLS origins that may serve it. */
  readonly origins?: readonly string[]
  readonly priceLimit?: PriceLimit
}

/** Most that a price list may say, in units of 10^12 base units of OPG. */
export type PriceLimit = {
  readonly requestUnits?: bigint
  readonly promptUnitsPerMillion?: bigint
  readonly completionUnitsPerMillion?: bigint
}

/** Why another gateway was tried: a code of `SealpathError`, a sealed answer of 429 or 5xx, or one that says that it does not serve the model. */
export type FailoverReason =
  | 'RELAY_FAILED'
  | 'REQUEST_NOT_OPENED'
  | 'ANSWER_CUT'
  | 'TIMED_OUT'
  | 'UNAVAILABLE'
  | 'MODEL_NOT_FOUND'

export type Step =
  | { readonly kind: 'registry-read'; readonly gateways: number }
  | { readonly kind: 'gateway-chosen'; readonly enclave: Hex; readonly operator: Hex; readonly isDevelopment: boolean }
  /** Nothing of an answer had come: the request goes to another gateway. */
  | { readonly kind: 'failed-over'; readonly from: Hex; readonly to: Hex; readonly reason: FailoverReason }
  | { readonly kind: 'request-sealed'; readonly bytes: number; readonly postQuantum: boolean }
  | { readonly kind: 'answer-begun'; readonly status: number }
  | { readonly kind: 'receipt-verified'; readonly leaf: Hex; readonly feeUnits: bigint }
  | { readonly kind: 'operators-coincide'; readonly operator: string }
  /** The credits that a request may cost are on their way, sealed to the issuer. */
  | { readonly kind: 'payment-made'; readonly payment: Hex }
  | { readonly kind: 'change-taken'; readonly payment: Hex; readonly feeUnits: bigint }
  | PurchaseStep
