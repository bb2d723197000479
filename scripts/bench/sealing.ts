/** The sealed path beside the plaintext one, in the same run. Server CPU is measured in a process of its own. @module */
import { fork } from 'node:child_process'
import { generateGatewayKey } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { openRequest, sealRequest } from '#protocol/sealing/ohttp.ts'
import { KEM_X_WING, type MaybeBytes, type SealingSuites } from '#protocol/sealing/suite.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { median, type Row, round, summarize } from './row.ts'

const RUNS = 5
const OPENS = 400
const REQUESTS = 1_000
const CONNECTIONS = 8
const EVENT_STREAMS = 100
const EVENTS = 200

export async function measureSealing(): Promise<Row[]> {
  return [await measureOpening(), ...(await measureServing())]
}

/** X-Wing set-up and open of 1 KiB: node:crypto against WebCrypto, both behind the same interfaces. */
async function measureOpening(): Promise<Row> {
  const ratios: number[] = []
  const webRates: number[] = []
  for (let run = 0; run <= RUNS; run++) {
    const ours = await opensPerSecond(createNodeSuites())
    const web = await opensPerSecond(createWebSuites({ noble: 'never' }))
    // The first round warms both up.
    if (run === 0) continue
    ratios.push(ours / web)
    webRates.push(web)
  }
  return {
    id: 'seal.open',
    name: 'X-Wing set-up and open of 1 KiB, ratio to WebCrypto',
    ...summarize(ratios, 2),
    unit: 'x',
    target: { value: 5, direction: 'at least' },
    others: [{ name: 'WebCrypto', value: round(median(webRates)), unit: '1/s' }],
    published: 'WebCrypto 1.0',
  }
}

async function opensPerSecond<R extends MaybeBytes>(suites: SealingSuites<R>): Promise<number> {
  const key = await generateGatewayKey(suites as SealingSuites, 0, KEM_X_WING)
  const keys = new Map([[0, key]])
  const sealed: Uint8Array[] = []
  for (let i = 0; i < OPENS; i++)
    sealed.push((await sealRequest(suites, key.config, new Uint8Array(1_024))).encapsulated)
  const begun = performance.now()
  for (const message of sealed) await openRequest(suites, keys, message)
  return OPENS / ((performance.now() - begun) / 1000)
}

type Cost = { readonly cpuMicros: number }

/** Padding modes in which events are measured: through the gateway's own shaping, each event read in a turn of the event loop of its own. */
const EVENT_MODES = ['balanced', 'off'] as const
type EventMode = (typeof EVENT_MODES)[number]

async function measureServing(): Promise<Row[]> {
  const server = fork(new URL('./sealingServer.ts', import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const url = await new Promise<string>((resolve) => server.once('message', (message) => resolve(String(message))))
  const cpu = () =>
    new Promise<number>((resolve) => {
      server.once('message', (message) => resolve((message as Cost).cpuMicros))
      server.send('cpu')
    })
  try {
    const [config] = parseKeyConfigList(new Uint8Array(await (await fetch(`${url}/ohttp-keys`)).arrayBuffer()))
    if (config === undefined) throw new Error('the server offers no key')
    const suites = createNodeSuites()
    const seal = (path: string) =>
      sealHttpRequest(suites, config, {
        method: 'POST',
        scheme: 'https',
        authority: 'target',
        path,
        headers: [['content-type', 'application/json']],
        body: encodeUtf8(JSON.stringify({ text: 'x'.repeat(1_000) })),
      })
    const ratios: number[] = []
    const plainMicros: number[] = []
    const plainEventMicros: number[] = []
    const eventMicros: Record<EventMode, number[]> = { balanced: [], off: [] }
    for (let run = 0; run <= RUNS; run++) {
      const sealedRequests = await Promise.all(Array.from({ length: REQUESTS }, () => seal('/echo')))
      const plain = await costOf(cpu, REQUESTS, (_i) => echoPlain(url, '/echo'))
      const sealedCost = await costOf(cpu, REQUESTS, (i) => send(url, sealedRequests[i]))
      const plainStream = await costOf(cpu, EVENT_STREAMS, (_i) => echoPlain(url, '/events'))
      const costs = { balanced: 0, off: 0 }
      for (const mode of EVENT_MODES) {
        const streams = await Promise.all(Array.from({ length: EVENT_STREAMS }, () => seal(`/events/${mode}`)))
        costs[mode] = await costOf(cpu, EVENT_STREAMS, (i) => send(url, streams[i]))
      }
      // The first round warms both sides up.
      if (run === 0) continue
      ratios.push(sealedCost / plain)
      plainMicros.push(plain)
      plainEventMicros.push((plainStream - plain) / EVENTS)
      for (const mode of EVENT_MODES) eventMicros[mode].push((costs[mode] - sealedCost) / EVENTS)
    }
    return [
      {
        id: 'seal.request',
        name: 'sealed 1 KiB echo, X-Wing, server CPU, ratio to plaintext',
        ...summarize(ratios, 2),
        unit: 'x',
        target: { value: 9, direction: 'at most' },
        others: [{ name: 'plaintext', value: round(median(plainMicros)), unit: 'us a request' }],
        published: 'WebCrypto X25519 20x',
      },
      {
        id: 'seal.event',
        name: 'sealed stream, `balanced`, server CPU per separately read event',
        ...summarize(eventMicros.balanced, 2),
        unit: 'us',
        target: { value: 6, direction: 'at most' },
        others: [
          { name: 'plaintext, each event a write of its own,', value: round(median(plainEventMicros), 2), unit: 'us' },
        ],
        published: 'WebCrypto 45 us',
      },
      {
        id: 'seal.event.off',
        name: 'the same without padding: each event a chunk and a write of its own',
        ...summarize(eventMicros.off, 2),
        unit: 'us',
      },
    ]
  } finally {
    server.kill()
  }
}

/** Server CPU in microseconds per call, for `count` calls on a few connections. */
async function costOf(
  cpu: () => Promise<number>,
  count: number,
  call: (index: number) => Promise<void>,
): Promise<number> {
  const before = await cpu()
  let next = 0
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (next < count) await call(next++)
    }),
  )
  return ((await cpu()) - before) / count
}

const PLAIN_BODY = JSON.stringify({ text: 'x'.repeat(1_000) })

async function echoPlain(url: string, path: '/echo' | '/events'): Promise<void> {
  const response = await fetch(url + path, {
    method: 'POST',
    body: PLAIN_BODY,
    headers: { 'content-type': 'application/json' },
  })
  await response.arrayBuffer()
}

async function send(url: string, sealed: Awaited<ReturnType<typeof sealHttpRequest>> | undefined): Promise<void> {
  if (sealed === undefined) throw new Error('every request is sealed once')
  const response = await fetch(`${url}/gateway`, {
    method: 'POST',
    body: sealed.body,
    headers: { 'content-type': sealed.contentType, incremental: '?1' },
  })
  if (response.status !== 200) throw new Error(`the server answered ${response.status}`)
  await response.arrayBuffer()
}
