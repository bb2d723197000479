/** One exchange from the client's side, for tests: a gateway behind a relay on real sockets, and what a test asks it. @module */
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { createChainReads } from '#chain/chainReads.ts'
import type { Enclave } from '#node/enclave/enclave.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import type { Hex } from '#protocol/bytes.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import type { ReceiptMessage } from '#protocol/wire/receiptFile.ts'
import type { AnswerEvent, Backend } from '../../gateway/backends/backend.ts'
import { BackendError } from '../../gateway/backends/backendError.ts'
import type { TrustedGateway } from '../../offchain/sdk/gateway.ts'
import type { Step } from '../../offchain/sdk/options.ts'
import type { ExchangeAccess } from '../../offchain/sdk/receiptCheck.ts'
import {
  type ExchangeTerms,
  exchange,
  readInnerRequest,
  SEALED_ORIGIN,
  type SealedAnswer,
} from '../../offchain/sdk/sealedFetch.ts'
import { STAGE_BINDING, type Stage, type StageGateway, sayHello, stagePrice, startStage } from './gatewayStage.ts'

export const CHAT_URL: string = `${SEALED_ORIGIN}/v1/chat/completions`
/** One unit a request, one a token: three for `sayHello`. */
export const PRICE: ReturnType<typeof stagePrice> = stagePrice('demo', {
  requestUnits: 1n,
  completionUnitsPerMillion: 1_000_000n,
})

export type Chat = NonNullable<Backend['chat']>
export type Tamper = (response: InnerResponse) => InnerResponse
/** Where a request goes, and how. */
export type Route = { readonly gateway: TrustedGateway; readonly access: ExchangeAccess }
export type Network = Route & { readonly steps: Step[]; readonly staged: StageGateway }

export class ExchangeStage {
  readonly #stage: Stage
  readonly #servers: Server[] = []
  readonly #rejections: unknown[] = []
  readonly #onRejection = (reason: unknown): void => void this.#rejections.push(reason)

  private constructor(stage: Stage) {
    this.#stage = stage
    process.on('unhandledRejection', this.#onRejection)
  }

  static async start(): Promise<ExchangeStage> {
    return new ExchangeStage(await startStage())
  }

  /** A gateway whose answers `tamper` may change before they are sealed, behind a relay. */
  async network(chat: Chat = sayHello, tamper?: Tamper): Promise<Network> {
    const { gateway: staged, url } = await this.#stage.addGateway({ prices: [PRICE], chat })
    staged.inside = tamper
    const relayUrl = await this.#stage.addRelay([url])
    return { ...routeTo(`${relayUrl}/gateways/g0`, staged.enclave), staged }
  }

  /** A gateway that never boots: everything is said by a relay in its place. */
  async relay(answer: RequestListener): Promise<Route> {
    const { gateway } = await this.#stage.addGateway()
    const server = createServer(answer).listen(0, '127.0.0.1')
    this.#servers.push(server)
    await once(server, 'listening')
    return routeTo(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, gateway.enclave)
  }

  /** A relay that is down. */
  async noRelay(): Promise<Route> {
    const { gateway } = await this.#stage.addGateway()
    return routeTo('http://127.0.0.1:9/gateways/g0', gateway.enclave)
  }

  /** Closes everything; nothing must have been rejected that nobody handled. */
  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections()
      server.close()
    }
    await this.#stage.close()
    await sleep(1)
    process.off('unhandledRejection', this.#onRejection)
    expect(this.#rejections).toEqual([])
  }
}

/** The way to this enclave by a relay resource, with nothing asked of any chain. */
export function routeTo(url: string, enclave: Enclave): Route & { readonly steps: Step[] } {
  const steps: Step[] = []
  const { chainId, registry, settlement, operator } = STAGE_BINDING
  const gateway: TrustedGateway = {
    enclave: enclave.statement.enclave.toLowerCase() as Hex,
    operator,
    measurement: `0x${'00'.repeat(32)}`,
    isDevelopment: true,
    url: new URL(url),
    keyConfigs: enclave.keys.configs(),
  }
  const access: ExchangeAccess = {
    // Nothing here asks the chain: only a settled proof does.
    client: createChainReads(['http://127.0.0.1:9']),
    chainId,
    registry,
    settlement,
    aggregatorUrl: undefined,
    suites: createWebSuites(),
    padding: 'balanced',
    timeoutMs: 30_000,
    idleTimeoutMs: 30_000,
    onStep: (step: Step) => void steps.push(step),
  }
  return { gateway, access, steps }
}

export async function ask(
  { gateway, access }: Route,
  fields: Record<string, unknown> = {},
  init: RequestInit = {},
  terms: ExchangeTerms = {},
): Promise<SealedAnswer> {
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'hi' }], stream: true, ...fields })
  const { inner, signal } = await readInnerRequest(CHAT_URL, { method: 'POST', body, ...init }, access.padding)
  return exchange(access, gateway, inner, signal, terms)
}

/** Code and reason of the error that it rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<[string, string | undefined]> {
  try {
    await promise
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return [
      'code' in error && typeof error.code === 'string' ? error.code : error.name,
      'reason' in error && typeof error.reason === 'string' ? error.reason : undefined,
    ]
  }
  throw new Error('expected a failure')
}

export function delta(content: string): AnswerEvent {
  return { kind: 'delta', choice: 0, content, raw: { index: 0, delta: { content }, finish_reason: null } }
}

/** Says the same word until it is told to stop. */
export async function* sayEndlessly(_request: unknown, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
  while (!signal.aborted) {
    yield delta('word ')
    await sleep(1)
  }
  throw stopped()
}

/** What a model says that was told to stop. */
export function stopped(): BackendError {
  return new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
}

/** Changes the receipt as JSON. */
export function changingReceipt(change: (receipt: ReceiptMessage) => unknown): Tamper {
  return (response) => ({
    ...response,
    trailers: async () => {
      const trailers = (await response.trailers?.()) ?? []
      return trailers.map(([name, value]): [string, string] => [name, JSON.stringify(change(JSON.parse(value)))])
    },
  })
}

/** Another value of the same length. */
export function flip(hex: Hex): Hex {
  return `${hex.slice(0, -1)}${hex.endsWith('0') ? '1' : '0'}` as Hex
}
