/** The relay as its operator runs it: a process, its output, and its end. @module */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OHTTP_CHUNKED_RESPONSE } from '#protocol/sealing/mediaTypes.ts'
import { freePort } from '../../test/support/freePort.ts'
import { bodyOf, type GatewayHandler, post, RelayStage } from '../../test/support/relayStage.ts'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
let stage: RelayStage
let folder: string
const children: ChildProcess[] = []

beforeEach(() => {
  stage = new RelayStage()
  folder = mkdtempSync(join(tmpdir(), 'sealpath-relay-'))
})

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await stage.close()
  rmSync(folder, { recursive: true, force: true })
})

type RunningRelay = {
  readonly url: string
  readonly metricsUrl: string
  readonly child: ChildProcess
  readonly output: () => string
}

async function run(gatewayUrl: string, limits: Record<string, number> = {}): Promise<RunningRelay> {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const config = {
    listen: { host: '127.0.0.1', port },
    metrics: { host: '127.0.0.1', port: metricsPort },
    operator: 'a test',
    gateways: [
      { name: 'g', url: gatewayUrl },
      { name: 'dead', url: 'http://127.0.0.1:1' },
    ],
    limits,
  }
  const configFile = join(folder, 'relay.json')
  writeFileSync(configFile, JSON.stringify(config))
  const child = spawn(process.execPath, [MAIN], {
    env: { ...process.env, SEALPATH_CONFIG: configFile },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data: Buffer) => (output += data.toString()))
  await once(child, 'message')
  const [url, metricsUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${metricsPort}/metrics`]
  return { url, metricsUrl, child, output: () => output }
}

function eventsOf(output: string): unknown[] {
  return output
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { event: unknown }).event)
}

test('writes nothing about any request, however it ends', async () => {
  let turn = 0
  const begun = Promise.withResolvers<void>()
  const handler: GatewayHandler = async (message, response) => {
    const mood = turn++
    if (mood === 1) return void message.socket.resetAndDestroy()
    await bodyOf(message)
    response.writeHead(200, { 'content-type': mood === 2 ? 'text/html' : OHTTP_CHUNKED_RESPONSE })
    response.write('beginning')
    if (mood === 3) {
      await begun.promise
      return void response.destroy()
    }
    if (mood === 4) return
    response.end('end')
  }
  const { url, metricsUrl, child, output } = await run(await stage.gateway(handler), { requestsPerMinute: 9 })
  const said = (response: Response): Promise<string> => response.text().catch(() => 'cut')
  const statuses: number[] = []
  for (let i = 0; i < 4; i++) {
    const response = await post(url)
    statuses.push(response.status)
    if (i === 3) begun.resolve()
    await said(response)
  }
  const abort = new AbortController()
  const left = await post(url, { signal: abort.signal })
  statuses.push(left.status)
  abort.abort()
  await said(left)
  for (const path of ['dead', 'none', 'g/evidence', 'g/ohttp-keys', 'g']) {
    const method = path.includes('/') ? 'GET' : 'POST'
    const response = await fetch(`${url}/gateways/${path}`, { method })
    statuses.push(response.status)
    await said(response)
  }
  expect(statuses).toEqual([200, 502, 502, 200, 200, 415, 404, 200, 200, 429])
  // Counted is what happened, never to whom.
  const metrics = await (await fetch(metricsUrl)).text()
  const counts = [...metrics.matchAll(/^sealpath_relay_requests_total\{(.*)\} (\d+)$/gm)].map(([, labels, count]) => [
    labels,
    count,
  ])
  expect(Object.fromEntries(counts)).toEqual({
    'outcome="PASSED",role="relay"': '3',
    'outcome="NO_ANSWER",role="relay"': '1',
    'outcome="UNFIT_ANSWER",role="relay"': '1',
    'outcome="REFUSED_415",role="relay"': '1',
    'outcome="REFUSED_404",role="relay"': '1',
    'outcome="REFUSED_429",role="relay"': '1',
  })
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  expect(code).toBe(0)
  expect(eventsOf(output())).toEqual(['listening', 'metrics', 'ready', 'draining'])
})

test('finishes an answer under way when it is told to stop, and refuses the next', async () => {
  const steps = Array.from({ length: 4 }, () => Promise.withResolvers<void>())
  const handler: GatewayHandler = async (message, response) => {
    await bodyOf(message)
    response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
    for (const [i, step] of steps.entries()) {
      response.write(`chunk ${i} `)
      await step.promise
    }
    response.end('end')
  }
  const { url, child, output } = await run(await stage.gateway(handler))
  const exited = once(child, 'exit')
  const reader = (await post(url)).body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = (await reader?.read())?.value ?? ''
  child.kill('SIGTERM')
  while (!output().includes('draining')) await new Promise((resolve) => setTimeout(resolve, 2))
  await expect(post(url)).rejects.toThrow()
  for (const step of steps) {
    step.resolve()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) text += next.value
  expect(text).toBe('chunk 0 chunk 1 chunk 2 chunk 3 end')
  expect(await exited).toEqual([0, null])
})
