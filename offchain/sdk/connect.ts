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
import { decodeUtf8, type Hex } from '#protocol/bytes.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import { parseReceiptFile } from '#protocol/wire/receiptFile.ts'
import { SealpathError } from './errors.ts'
import { findGateways, type Network, pickGateway, type TrustedGateway } from './gateway.ts'
import type { ConnectOptions, Step } from './options.ts'
import type { ExchangeAccess } from './receiptCheck.ts'
import { exchange, readInnerRequest, SEALED_ORIGIN, type SealedAnswer } from './sealedFetch.ts'
import { SealedReceipt } from './sealedReceipt.ts'

/** How long a checked gateway is used before registry and evidence are read again. */
const RECHECK_MS = 300_000

export type SealedClient = {
  /** Give it to an OpenAI client as `fetch`. Refuses every address outside `baseURL`'s origin. */
  readonly fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>
  readonly baseURL: string
  /** The gateway that requests go to now. */
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

/** Reads the registry, checks the evidence of every gateway behind the relay, and picks one. Throws `SealpathError`. */
export async function connect(options: ConnectOptions): Promise<SealedClient> {
  const network = await readNetwork(options)
  const onStep = options.onStep ?? (() => {})
  const access: ExchangeAccess = {
    ...network,
    aggregatorUrl: options.aggregatorUrl,
    suites: createWebSuites(),
    padding: options.padding ?? 'private',
    timeoutMs: options.timeoutMs ?? 120_000,
    onStep,
  }
  // Who pays nothing loads nothing of it.
  const payer =
    options.wallet === undefined
      ? undefined
      : (await import('./wallet/openPayer.ts')).openPayer({ ...options, wallet: options.wallet }, network, access)
  const receipts = new WeakMap<Response, Promise<SealedReceipt>>()
  let gateway = await chooseGateway(network, options, onStep)
  let checkedAt = performance.now()
  const choose = async () => {
    gateway = await chooseGateway(network, options, onStep)
    checkedAt = performance.now()
  }

  const send = async (input: RequestInfo | URL, init?: RequestInit): Promise<SealedAnswer> => {
    const { inner, signal } = await readInnerRequest(input, init, access.padding)
    if (performance.now() - checkedAt > RECHECK_MS) await choose()
    try {
      return await payAndExchange(inner, signal)
    } catch (error) {
      if (!(error instanceof SealpathError) || error.code !== 'REQUEST_NOT_OPENED') throw error
      // The key may have rotated, or the gateway restarted as a new enclave: look again, once.
      await choose()
      return payAndExchange(inner, signal)
    }
  }
  const payAndExchange = async (inner: InnerRequest, signal: AbortSignal | undefined): Promise<SealedAnswer> => {
    if (payer === undefined || inner.path !== PAID_PATH) return exchange(access, gateway, inner, signal)
    const payment = await payer.pay(gateway, modelOf(inner.body), inner.body)
    if (payment === undefined) return exchange(access, gateway, inner, signal)
    onStep({ kind: 'payment-made', payment: payment.id })
    const paid = { ...inner, headers: [...inner.headers, [PAYMENT_FIELD, payment.field] as const] }
    try {
      const answer = await exchange(access, gateway, paid, signal, payment)
      // However the answer ends: read, cut or left.
      answer.receipt.then(payment.release, payment.release)
      return answer
    } catch (error) {
      // Nobody could open it, so nobody handed the payment on. After any other failure somebody may have.
      if (error instanceof SealpathError && error.code === 'REQUEST_NOT_OPENED') await payment.abandon()
      else payment.release()
      throw error
    }
  }

  return {
    baseURL: `${SEALED_ORIGIN}/v1`,
    get gateway() {
      return gateway
    },
    async fetch(input, init) {
      const { response, receipt } = await send(input, init)
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

/** The requests that cost something. */
const PAID_PATH = '/v1/chat/completions'

/** '' for a body that names none: the gateway says what is wrong with it. */
function modelOf(body: Uint8Array): string {
  try {
    const { model } = JSON.parse(decodeUtf8(body)) as { model?: unknown }
    return typeof model === 'string' ? model : ''
  } catch {
    return ''
  }
}

async function chooseGateway(
  network: Network,
  options: ConnectOptions,
  onStep: (step: Step) => void,
): Promise<TrustedGateway> {
  const gateways = await findGateways(network, options.policy ?? {}, BigInt(Math.floor(Date.now() / 1000)))
  onStep({ kind: 'registry-read', gateways: gateways.length })
  const gateway = pickGateway(gateways, crypto.getRandomValues(new Uint32Array(1)))
  const { enclave, operator, isDevelopment } = gateway
  onStep({ kind: 'gateway-chosen', enclave, operator, isDevelopment })
  return gateway
}

/** What the registry says about itself. Throws `SealpathError` (`CHAIN_FAILED`). */
async function readNetwork({ rpcUrl, relayUrl, registry }: ConnectOptions): Promise<Network> {
  const client = createChainReads(typeof rpcUrl === 'string' ? [rpcUrl] : rpcUrl)
  try {
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
    }
  } catch (cause) {
    throw new SealpathError('CHAIN_FAILED', 'cannot read the registry: check rpcUrl and the registry address', {
      cause,
    })
  }
}
