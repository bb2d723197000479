/**
 * The way in: a sealed `fetch` for any OpenAI-style application.
 *
 *   const sealed = await connect({ rpcUrl, relayUrl, registry })
 *   const openai = new OpenAI({ baseURL: sealed.baseURL, apiKey: 'none', fetch: sealed.fetch })
 *
 * @module
 */
import { createChainReads } from '#chain/chainReads.ts'
import { registryReadsAbi } from '#chain/generated/readsAbis.ts'
import type { Hex } from '#protocol/bytes.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { parseReceiptFile } from '#protocol/wire/receiptFile.ts'
import { unlessAborted } from './abort.ts'
import { SealpathError } from './errors.ts'
import { sendRequest } from './failover.ts'
import { findGateways, type Network, type TrustedGateway } from './gateway.ts'
import { GatewayPool, TermsError } from './gatewayPool.ts'
import { readTerms } from './gatewayTerms.ts'
import type { ConnectOptions } from './options.ts'
import { cryptoWord } from './random.ts'
import type { ExchangeAccess } from './receiptCheck.ts'
import { readInnerRequest, SEALED_ORIGIN } from './sealedFetch.ts'
import { SealedReceipt } from './sealedReceipt.ts'

export { SealpathError, type SealpathErrorCode } from './errors.ts'
export type { ConnectOptions, GatewayPolicy, ModelPolicy, PriceLimit, RelayFetch, Step } from './options.ts'

/** How long a gateway may take to tell its prices and models. */
const TERMS_TIMEOUT_MS_MAX = 15_000
const TIMEOUT_MS = 120_000
const ATTEMPTS_MAX = 3

export type SealedClient = {
  /** Give it to an OpenAI client as `fetch`. Refuses every address outside `baseURL`'s origin. */
  readonly fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>
  readonly baseURL: string
  /** The gateway of the newest request; before the first one, that which it would go to. */
  readonly gateway: TrustedGateway
  /** The verified receipt of a response that `fetch` answered with; settles once its body was read to the end. */
  receiptOf(response: Response): Promise<SealedReceipt>
  /** A receipt that was saved before. Throws `WireError` for a malformed file. */
  openReceipt(json: string): SealedReceipt
  /** Resolves once the change of every answer that was read to its end is stored in the wallet. */
  idle(): Promise<void>
  /**
   * Asks the issuer after every payment of the wallet whose change did not come. Answers how many it closed. Throws `SealpathError`. Happens by
   * itself when the wallet is short.
   */
  recover(): Promise<number>
}

/** Reads the registry, checks the evidence of every gateway behind the relay, and picks one. Throws `SealpathError`, and the reason of `signal`. */
export async function connect(options: ConnectOptions): Promise<SealedClient> {
  checkOptions(options)
  options.signal?.throwIfAborted()
  return unlessAborted(open(options), options.signal)
}

async function open(options: ConnectOptions): Promise<SealedClient> {
  const { onStep = () => {}, policy = {}, timeoutMs = TIMEOUT_MS, attemptsMax = ATTEMPTS_MAX } = options
  const network = await readNetwork(options)
  const suites = createWebSuites()
  const access: ExchangeAccess = {
    ...network,
    aggregatorUrl: options.aggregatorUrl,
    suites,
    padding: options.padding ?? 'private',
    timeoutMs,
    idleTimeoutMs: options.idleTimeoutMs ?? TIMEOUT_MS,
    onStep,
  }
  const termsTimeoutMs = Math.min(timeoutMs, TERMS_TIMEOUT_MS_MAX)
  const find = async () => {
    const gateways = await findGateways(network, policy, BigInt(Math.floor(Date.now() / 1000)))
    onStep({ kind: 'registry-read', gateways: gateways.length })
    return gateways
  }
  const pool = new GatewayPool(
    {
      find,
      readTerms: (of) => readTerms({ suites, timeoutMs: termsTimeoutMs, fetch: options.fetch }, of),
      word: cryptoWord,
      now: () => performance.now(),
    },
    policy,
  )
  // Who pays nothing loads nothing of it.
  const payer =
    options.wallet === undefined
      ? undefined
      : (await import('./wallet/openPayer.ts')).openPayer({ ...options, wallet: options.wallet }, network, access)
  let gateway = await firstGateway(pool, attemptsMax)
  options.signal?.throwIfAborted()
  const onGateway = (chosen: TrustedGateway) => {
    if (chosen !== gateway) announce(chosen)
    gateway = chosen
  }
  const announce = ({ enclave, operator, isDevelopment }: TrustedGateway) =>
    onStep({ kind: 'gateway-chosen', enclave, operator, isDevelopment })
  announce(gateway)
  const sender = { pool, access, payer, attemptsMax, onStep, onGateway }
  const receipts = new WeakMap<Response, Promise<SealedReceipt>>()

  return {
    baseURL: `${SEALED_ORIGIN}/v1`,
    get gateway() {
      return gateway
    },
    async fetch(input, init) {
      const { inner, signal } = await readInnerRequest(input, init, access.padding)
      const { response, receipt } = await sendRequest(sender, inner, signal)
      receipts.set(response, receipt)
      if (options.onReceipt !== undefined) receipt.then(options.onReceipt).catch(() => undefined)
      return response
    },
    receiptOf(response) {
      return (
        receipts.get(response) ??
        Promise.reject(new SealpathError('BAD_OPTIONS', 'this response did not come from this client'))
      )
    },
    idle: async () => payer?.idle(),
    recover: async () => payer?.recover() ?? 0,
    openReceipt: (json) => new SealedReceipt(parseReceiptFile(json), access),
  }
}

/** The gateway that requests go to unless their model leads them elsewhere. */
async function firstGateway(pool: GatewayPool, attemptsMax: number): Promise<TrustedGateway> {
  const silent: TrustedGateway[] = []
  for (;;) {
    try {
      const choice = await pool.choose({ model: undefined, isPaid: false }, silent)
      if (choice !== undefined) return choice.gateway
      throw new SealpathError('NO_GATEWAY', 'there is no gateway to choose from')
    } catch (error) {
      if (!(error instanceof TermsError)) throw error
      if (silent.push(error.gateway) >= attemptsMax) throw error.cause
    }
  }
}

function checkOptions({ relayUrl, attemptsMax = 1, timeoutMs = 1, idleTimeoutMs = 1 }: ConnectOptions): void {
  const relays = typeof relayUrl === 'string' ? [relayUrl] : relayUrl
  if (relays.length === 0 || !relays.every((url) => URL.canParse(url))) {
    throw new SealpathError('BAD_OPTIONS', 'expected relayUrl as the address of a relay, or of several')
  }
  if (!Number.isInteger(attemptsMax) || attemptsMax < 1) {
    throw new SealpathError('BAD_OPTIONS', 'expected attemptsMax as a whole number from 1')
  }
  if (!(timeoutMs > 0 && idleTimeoutMs > 0)) {
    throw new SealpathError('BAD_OPTIONS', 'expected timeoutMs and idleTimeoutMs as milliseconds above 0')
  }
}

/** What the registry says about itself. Throws `SealpathError` (`CHAIN_FAILED`). */
async function readNetwork({ rpcUrl, relayUrl, registry, fetch }: ConnectOptions): Promise<Network> {
  try {
    const client = createChainReads(typeof rpcUrl === 'string' ? [rpcUrl] : rpcUrl)
    const [chainId, settlement] = await Promise.all([
      client.getChainId(),
      client.readContract({ address: registry, abi: registryReadsAbi, functionName: 'settlement' }),
    ])
    return {
      client,
      chainId,
      registry: registry.toLowerCase() as Hex,
      settlement: settlement.toLowerCase() as Hex,
      relayUrl,
      fetch,
    }
  } catch (cause) {
    throw new SealpathError('CHAIN_FAILED', 'cannot read the registry: check rpcUrl and the registry address', {
      cause,
    })
  }
}
