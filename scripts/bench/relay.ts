/** The relay on one core under many `private` streams at once: its memory for each, and the cells that it carries. @module */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { TICK_MS } from '#protocol/shape.ts'
import { freePort } from '../../test/support/freePort.ts'
import { BenchProcesses } from './processes.ts'
import type { ClientCommand } from './relayClients.ts'
import { SEALED_CELL_BYTES } from './relayGateway.ts'
import type { RelayUsage } from './relayProcess.ts'
import { type Row, round, summarize } from './row.ts'

const STREAMS = 2_000
const SAMPLES = 11
const SAMPLE_MS = 400
/** A sealed cell between relay and client: its length in hexadecimal and two line ends around it. */
const CELL_BYTES_CARRIED = SEALED_CELL_BYTES + 8

export async function measureRelay(): Promise<Row[]> {
  const processes = new BenchProcesses()
  try {
    const { gateway, relay, clients } = await startAll(processes)
    // What one stream costs once, every stream shares.
    await ask(clients, { open: 50 })
    await ask(clients, 'close')
    await sleep(1_000)
    const idle = await usageOf(relay)
    await ask(clients, { open: STREAMS })
    gateway.send('go')
    await sleep(2_000)
    const samples: Sample[] = []
    for (let i = 0; i <= SAMPLES; i++) {
      if (i > 0) await sleep(SAMPLE_MS)
      // Asked together, for the relay is busy and answers late.
      const [usage, bytes] = await Promise.all([usageOf(relay), ask(clients, 'bytes')])
      samples.push({ ...usage, bytes: Number(bytes), atMs: performance.now() })
    }
    return rowsOf(idle, samples)
  } finally {
    await processes.stop()
  }
}

type Sample = RelayUsage & { readonly bytes: number; readonly atMs: number }

type Stage = { readonly gateway: ChildProcess; readonly relay: ChildProcess; readonly clients: ChildProcess }

async function startAll(processes: BenchProcesses): Promise<Stage> {
  const gateway = await processes.start('scripts/bench/relayGateway.ts', [String(TICK_MS)])
  const port = await freePort()
  const relay = await processes.startRole('relay', 'scripts/bench/relayProcess.ts', {
    listen: { host: '127.0.0.1', port },
    operator: 'benchmark',
    gateways: [{ name: 'g', url: String(gateway.message) }],
    limits: { openRequestsPerAddressMax: STREAMS, requestsPerMinute: 2 * STREAMS },
  })
  const clients = await processes.start('scripts/bench/relayClients.ts', [`http://127.0.0.1:${port}/gateways/g`])
  const last = cpus().length - 1
  pin(relay, last)
  // Those who only make and swallow bytes share what is left, so that they do not count against the relay.
  if (last > 0) for (const { child } of [gateway, clients]) pin(child, 0)
  return { gateway: gateway.child, relay, clients: clients.child }
}

/** Keeps a process on one core, where the system has a way to. Without one, the row of the CPU still tells how much it used. */
function pin(child: ChildProcess, core: number): void {
  try {
    execFileSync('taskset', ['-apc', String(core), String(child.pid)], { stdio: 'ignore' })
  } catch {
    // There is no taskset outside Linux.
  }
}

function rowsOf(idle: RelayUsage, samples: readonly Sample[]): Row[] {
  const rssBytes = Math.max(...samples.map((sample) => sample.rssBytes))
  const steps = samples.slice(1).map((sample, i) => ({ from: samples[i] ?? sample, to: sample }))
  const cellsPerSecond = steps.map(
    ({ from, to }) => (to.bytes - from.bytes) / CELL_BYTES_CARRIED / ((to.atMs - from.atMs) / 1000),
  )
  const shares = steps.map(({ from, to }) => (to.cpuMicros - from.cpuMicros) / (to.atMs - from.atMs) / 10)
  return [
    {
      id: 'relay.streams',
      name: `memory of the relay for each of ${STREAMS.toLocaleString('en-US')} \`private\` streams at once, on one core`,
      value: round((rssBytes - idle.rssBytes) / 1024 / STREAMS, 1),
      unit: 'KiB',
      target: { value: 64, direction: 'at most' },
    },
    {
      id: 'relay.cells',
      name: `cells a second that it carries then; the streams' tick asks for ${((STREAMS * 1000) / TICK_MS).toLocaleString('en-US')}`,
      ...summarize(cellsPerSecond),
      unit: '/s',
    },
    { id: 'relay.core', name: 'CPU time that it needs for them, of one core', ...summarize(shares, 1), unit: '%' },
  ]
}

async function usageOf(relay: ChildProcess): Promise<RelayUsage> {
  return (await ask(relay, 'usage')) as RelayUsage
}

function ask(child: ChildProcess, command: ClientCommand | 'usage'): Promise<unknown> {
  return new Promise((resolve) => {
    child.once('message', resolve)
    child.send(command)
  })
}
