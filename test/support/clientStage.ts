/** A connected client before staged gateways, for tests: what it asks, and what it must get. @module */
import { expect } from 'vitest'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { ConnectOptions, Step } from '../../offchain/sdk/options.ts'
import { type Stage, type StageGateway, startStage } from './gatewayStage.ts'

export class ClientStage {
  readonly stage: Stage
  readonly steps: Step[] = []

  private constructor(stage: Stage) {
    this.stage = stage
  }

  static async start(): Promise<ClientStage> {
    return new ClientStage(await startStage())
  }

  connect(relayUrl: string | readonly string[], options: Partial<ConnectOptions> = {}): Promise<SealedClient> {
    const { rpcUrl, registry } = this.stage
    const onStep = (step: Step) => void this.steps.push(step)
    return connect({ rpcUrl, relayUrl, registry, padding: 'balanced', onStep, ...options })
  }

  /** Two gateways behind a relay, and a client that goes to the first. */
  async twoGateways(
    options: Partial<ConnectOptions> = {},
  ): Promise<{ sealed: SealedClient; first: StageGateway; second: StageGateway }> {
    const [a, b] = [await this.stage.addGateway(), await this.stage.addGateway()]
    const sealed = await this.connect(await this.stage.addRelay([a.url, b.url]), options)
    const isFirst = idOf(a.gateway) === sealed.gateway.enclave
    const [first, second] = isFirst ? [a.gateway, b.gateway] : [b.gateway, a.gateway]
    return { sealed, first, second }
  }

  /** The steps that say that another gateway was tried. */
  get failovers(): readonly Step[] {
    return this.steps.filter(({ kind }) => kind === 'failed-over')
  }

  /** How often the registry was read. */
  get reads(): number {
    return this.steps.filter(({ kind }) => kind === 'registry-read').length
  }
}

export function chat(
  sealed: SealedClient,
  fields: Record<string, unknown> = {},
  init: RequestInit = {},
): Promise<Response> {
  const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...fields })
  return sealed.fetch(`${sealed.baseURL}/chat/completions`, { method: 'POST', body, ...init })
}

/** The answer is whole, and its receipt verified. */
export async function expectHello(sealed: SealedClient, response: Response): Promise<void> {
  expect(response.status).toBe(200)
  expect(await response.text()).toContain('Hello')
  expect((await sealed.receiptOf(response)).file.public.enclave).toBe(sealed.gateway.enclave)
}

export function idOf({ enclave }: StageGateway): string {
  return enclave.statement.enclave.toLowerCase()
}
