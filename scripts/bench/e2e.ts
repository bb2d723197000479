/**
 * An answer of 400 tokens through everything: SDK, relay, gateway, a fast model server, each a process of its own, beside the same answer
 * straight from the model server. Nothing is paid; receipts are issued and verified. @module
 */
import { join } from 'node:path'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import type { PaddingMode } from '#protocol/shape.ts'
import { AgentStatusSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { createChainReads } from '../../offchain/chain/chainReads.ts'
import type { TrustedGateway } from '../../offchain/sdk/gateway.ts'
import type { ExchangeAccess } from '../../offchain/sdk/receiptCheck.ts'
import { exchange, readInnerRequest, SEALED_ORIGIN } from '../../offchain/sdk/sealedFetch.ts'
import { freePort } from '../../test/support/freePort.ts'
import { demoPrices } from '../local/demoPrices.ts'
import { BenchProcesses } from './processes.ts'
import { median, type Row, round, summarize } from './row.ts'

const TOKENS = 400
const WARM_UPS = 400
const WARM_UPS_AT_ONCE = 4
const RUNS = 15
const PRIVATE_RUNS = 5
const MODEL = 'bench'
const CHAIN = {
  chainId: 31_337,
  registry: `0x${'11'.repeat(20)}`,
  settlement: `0x${'22'.repeat(20)}`,
  operator: `0x${'33'.repeat(20)}`,
} as const

export async function measureEndToEnd(): Promise<Row[]> {
  const processes = new BenchProcesses()
  try {
    const { direct, sealed } = await startAll(processes)
    await warmUp(direct, (tokens) => sealed('balanced', tokens))
    const plain: Timing[] = []
    const balanced: Timing[] = []
    for (let run = 0; run < RUNS; run++) {
      // In turns, so that a busy moment of the machine meets both.
      plain.push(await measure(() => direct(TOKENS)))
      balanced.push(await measure(() => sealed('balanced', TOKENS)))
    }
    const hidden: Timing[] = []
    for (let run = 0; run < PRIVATE_RUNS; run++) hidden.push(await measure(() => sealed('private', TOKENS)))
    return [...balancedRows(plain, balanced), ...privateRows(hidden)]
  } finally {
    await processes.stop()
  }
}

type Timing = { readonly firstMs: number; readonly totalMs: number; readonly bytes: number }
type Routes = {
  readonly direct: (tokens: number) => Promise<Response>
  readonly sealed: (mode: PaddingMode, tokens: number) => Promise<Response>
}

function requestOf(tokens: number): RequestInit {
  const messages = [{ role: 'user', content: 'Say some words.' }]
  const body = JSON.stringify({ model: MODEL, messages, stream: true, max_tokens: tokens })
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body }
}

/** Short answers, until every process has compiled its hot paths: a gateway in service has. */
async function warmUp(...routes: readonly ((tokens: number) => Promise<Response>)[]): Promise<void> {
  for (const route of routes) {
    let left = WARM_UPS
    const workers = Array.from({ length: WARM_UPS_AT_ONCE }, async () => {
      while (left-- > 0) await (await route(2)).arrayBuffer()
    })
    await Promise.all(workers)
  }
}

async function startAll(processes: BenchProcesses): Promise<Routes> {
  const modelUrl = `${String((await processes.start('scripts/bench/e2eModel.ts')).message)}/v1`
  const [gatewayPort, agentPort, relayPort] = [await freePort(), await freePort(), await freePort()]
  const host = '127.0.0.1'
  await processes.startRole('gateway', 'gateway/main.ts', {
    listen: { host, port: gatewayPort },
    agentListen: { host, port: agentPort },
    chain: CHAIN,
    attester: { kind: 'development', rootFile: join(processes.folder, 'development-root.json') },
    backends: [{ kind: 'openai', url: modelUrl, models: [{ name: MODEL }], source: 'operator' }],
    prices: demoPrices([MODEL], 'operator'),
  })
  await processes.startRole('relay', 'offchain/relay/main.ts', {
    listen: { host, port: relayPort },
    operator: 'benchmark',
    gateways: [{ name: 'g', url: `http://${host}:${gatewayPort}` }],
  })
  const status = await (await fetch(`http://${host}:${agentPort}/agent/status`)).text()
  const { statement, keyConfigs } = parseJson(AgentStatusSchema, status, 'status')
  // Nothing here is registered: what a client checks before its first request is not part of any request.
  const gateway: TrustedGateway = {
    enclave: statement.enclave,
    operator: statement.operator,
    measurement: `0x${'00'.repeat(32)}`,
    isDevelopment: true,
    url: new URL(`http://${host}:${relayPort}/gateways/g`),
    keyConfigs: parseKeyConfigList(keyConfigs),
  }
  const accessOf = (padding: PaddingMode): ExchangeAccess => ({
    client: createChainReads([`http://${host}:9`]),
    ...CHAIN,
    aggregatorUrl: undefined,
    suites,
    padding,
    timeoutMs: 10_000,
    idleTimeoutMs: 10_000,
    onStep: () => {},
  })
  const suites = createWebSuites()
  return {
    direct: (tokens) => fetch(`${modelUrl}/chat/completions`, requestOf(tokens)),
    sealed: async (mode, tokens) => {
      const access = accessOf(mode)
      const { inner } = await readInnerRequest(`${SEALED_ORIGIN}/v1/chat/completions`, requestOf(tokens), mode)
      const { response, receipt } = await exchange(access, gateway, inner, undefined)
      // The body ends only after the receipt was verified, and fails with it.
      receipt.catch(() => undefined)
      return response
    },
  }
}

/** From the call to the first token's text, and to the end of the body. */
async function measure(begin: () => Promise<Response>): Promise<Timing> {
  const begun = performance.now()
  const response = await begin()
  if (response.status !== 200 || response.body === null) throw new Error(`the answer has status ${response.status}`)
  let firstMs: number | undefined
  let bytes = 0
  let text = ''
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    bytes += part.length
    text += part
    if (firstMs === undefined && text.includes(' word0')) firstMs = performance.now() - begun
  }
  const totalMs = performance.now() - begun
  if (firstMs === undefined || !text.includes(` word${TOKENS - 1}`))
    throw new Error('the answer is not the whole answer')
  return { firstMs, totalMs, bytes }
}

function balancedRows(plain: readonly Timing[], balanced: readonly Timing[]): Row[] {
  const total = (timings: readonly Timing[]) => median(timings.map(({ totalMs }) => totalMs))
  const first = (timings: readonly Timing[]) => median(timings.map(({ firstMs }) => firstMs))
  const direct = (value: number) => [{ name: 'direct', value: round(value, 2), unit: 'ms' }]
  return [
    {
      id: 'seal.e2e',
      name: '400 tokens of a model server at 2,000 tokens/s, relay included, `balanced`, over direct',
      // Of the medians, and around it each answer beside the direct one before it.
      ...summarize(
        balanced.map(({ totalMs }, run) => totalMs / (plain[run]?.totalMs ?? Number.NaN)),
        2,
      ),
      value: round(total(balanced) / total(plain), 2),
      unit: 'x',
      target: { value: 1.15, direction: 'at most' },
      others: direct(total(plain)),
      published: 'prototype 1.4',
    },
    {
      id: 'seal.ttft',
      name: 'first token of the same answer, `balanced`, unpaid, later than direct',
      ...summarize(
        balanced.map(({ firstMs }, run) => firstMs - (plain[run]?.firstMs ?? Number.NaN)),
        2,
      ),
      value: round(first(balanced) - first(plain), 2),
      unit: 'ms',
      others: direct(first(plain)),
      target: { value: 10, direction: 'at most' },
    },
  ]
}

function privateRows(timings: readonly Timing[]): Row[] {
  const row = (id: string, name: string, unit: string, of: (timing: Timing) => number): Row => ({
    id,
    name,
    ...summarize(timings.map(of), 2),
    unit,
  })
  return [
    row('private.first', 'first token of the same answer in `private` mode', 'ms', ({ firstMs }) => firstMs),
    row('private.total', 'the whole answer in `private` mode', 'ms', ({ totalMs }) => totalMs),
    row('private.rate', 'what a `private` answer carries', 'B/s', ({ bytes, totalMs }) => (bytes * 1000) / totalMs),
  ]
}
