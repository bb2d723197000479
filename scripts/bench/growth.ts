/**
 * What an aggregator costs as its logs grow to a hundred million leaves: taking in, memory, disk, proofs, start. One process over HTTP with a real
 * PostgreSQL that syncs, settling on a chain. Takes a quarter of an hour, so it is measured only when asked for. @module
 */
import type { ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openDatabase } from '#node/database.ts'
import { deployLocal } from '../../test/support/chain.ts'
import { freePort } from '../../test/support/freePort.ts'
import { SILENT, startPostgres } from '../../test/support/postgres.ts'
import { deliver, forgetPeak, peakMebibytes, Sender } from './ingestSender.ts'
import { BenchProcesses } from './processes.ts'
import { median, type Row } from './row.ts'

const MILLION = 1_000_000
/** Leaves of both logs together, ascending. */
const SIZES = [MILLION, 10 * MILLION, 100 * MILLION]
const ENCLAVES = 2
const DELIVERY_LEAVES = 250_000
const BULK_LEAVES = 100
const BULK_CLIENTS = 2
const BULK_RUNS = 5
const BULK_RUN_MS = 2_000
const SINGLE_PROOFS = 2_000
const SETTLED_MS_MAX = 300_000

/** What one size costs. */
type Cost = {
  readonly leaves: number
  /** Median of the deliveries that led here. */
  readonly ingestPerSecond: number
  /** Most memory of the aggregator, from the size before to the last proof. */
  readonly memoryMebibytes: number
  /** From the last delivery until its last leaf is proven settled. */
  readonly settleSeconds: number
  /** Of the whole database. */
  readonly diskBytesPerLeaf: number
  readonly proofsPerSecond: number
  readonly proofP99Ms: number
  /** From the start of a second process on the same database until it serves. */
  readonly startSeconds: number
}

/** Measures, and writes docs/growth.md. */
export async function measureGrowth(): Promise<Row[]> {
  const [chain, postgres] = await Promise.all([deployLocal(), startPostgres()])
  const processes = new BenchProcesses()
  try {
    const keyFile = join(processes.folder, 'settler.key')
    writeFileSync(keyFile, chain.keyOf('settler'))
    const url = await postgres.createDatabase()
    const start = async (): Promise<Aggregator> => {
      const port = await freePort()
      const child = await processes.startRole('aggregator', 'offchain/aggregator/main.ts', {
        listen: { host: '127.0.0.1', port },
        rpcUrls: [chain.rpcUrl],
        deployment: { ...chain.addresses, fromBlock: '0' },
        accountKeyFiles: [keyFile],
        database: { url },
        settle: { leavesMax: 1_000_000_000 },
      })
      return { child, url: `http://127.0.0.1:${port}` }
    }
    const database = await openDatabase({ url }, SILENT)
    const senders: Sender[] = []
    for (let i = 0; i < ENCLAVES; i++) senders.push(await Sender.open(chain, i))
    const costs: Cost[] = []
    let aggregator = await start()
    for (const leaves of SIZES) {
      forgetPeak(aggregator.child.pid)
      const ingestPerSecond = await grow(aggregator, senders, leaves)
      const settleSeconds = await untilSettled(aggregator, senders)
      const proofsPerSecond = await bulkRate(aggregator, senders)
      const proofP99Ms = await singleP99(aggregator, senders)
      const memoryMebibytes = peakMebibytes(aggregator.child.pid)
      const [disk] = await database.sql<{ bytes: bigint }[]>`select pg_database_size(current_database()) as bytes`
      await ended(aggregator.child)
      const begun = performance.now()
      aggregator = await start()
      await proves(aggregator, senders)
      const startSeconds = (performance.now() - begun) / 1000
      const diskBytesPerLeaf = Number(disk?.bytes ?? 0n) / leaves
      const cost = {
        leaves,
        ingestPerSecond,
        memoryMebibytes,
        settleSeconds,
        diskBytesPerLeaf,
        proofsPerSecond,
        proofP99Ms,
        startSeconds,
      }
      process.stderr.write(`${JSON.stringify(cost)}\n`)
      costs.push(cost)
    }
    await database.close()
    writeFileSync(new URL('../../docs/growth.md', import.meta.url), toMarkdown(costs))
    return toRows(costs)
  } finally {
    await processes.stop()
    await postgres.close()
    await chain.close()
  }
}

type Aggregator = { readonly child: ChildProcess; readonly url: string }

/** Delivers until both logs together have `leaves`, and answers the median of the rates. */
async function grow({ url }: Aggregator, senders: readonly Sender[], leaves: number): Promise<number> {
  const rates: number[] = []
  while (sizeOf(senders) < leaves) {
    const bodies = senders.map((sender) => sender.next(DELIVERY_LEAVES))
    const begun = performance.now()
    await Promise.all(bodies.map((body) => deliver(`${url}/v1/heads`, body)))
    rates.push((ENCLAVES * DELIVERY_LEAVES) / ((performance.now() - begun) / 1000))
  }
  return median(rates)
}

async function untilSettled(aggregator: Aggregator, senders: readonly Sender[]): Promise<number> {
  const begun = performance.now()
  for (const sender of senders) {
    for (;;) {
      const response = await fetch(`${aggregator.url}/v1/proofs/${sender.leafAt(sender.size - 1)}`)
      await response.text()
      if (response.status === 200) break
      const waited = performance.now() - begun
      if (waited > SETTLED_MS_MAX) throw new Error(`the last leaf is not settled after ${Math.round(waited)} ms`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  return (performance.now() - begun) / 1000
}

async function bulkRate(aggregator: Aggregator, senders: readonly Sender[]): Promise<number> {
  const leafOf = leavesInTurn(senders)
  await bulkFor(aggregator, leafOf)
  const rates: number[] = []
  for (let i = 0; i < BULK_RUNS; i++) rates.push(await bulkFor(aggregator, leafOf))
  return median(rates)
}

async function bulkFor({ url }: Aggregator, nextLeaf: () => string): Promise<number> {
  const begun = performance.now()
  let proven = 0
  const client = async (): Promise<void> => {
    while (performance.now() - begun < BULK_RUN_MS) {
      const body = JSON.stringify({ leaves: Array.from({ length: BULK_LEAVES }, nextLeaf) })
      const text = await (await fetch(`${url}/v1/proofs`, { method: 'POST', body })).text()
      if (text.includes('"pending"') || text.includes('"unknown"')) throw new Error('expected proofs only')
      proven += BULK_LEAVES
    }
  }
  await Promise.all(Array.from({ length: BULK_CLIENTS }, client))
  return proven / ((performance.now() - begun) / 1000)
}

async function singleP99({ url }: Aggregator, senders: readonly Sender[]): Promise<number> {
  const nextLeaf = leavesInTurn(senders)
  const times: number[] = []
  for (let i = 0; i < SINGLE_PROOFS; i++) {
    const leaf = nextLeaf()
    const begun = performance.now()
    const response = await fetch(`${url}/v1/proofs/${leaf}`)
    const text = await response.text()
    times.push(performance.now() - begun)
    if (response.status !== 200) throw new Error(`expected a proof, got ${text}`)
  }
  return times.toSorted((a, b) => a - b)[Math.floor(SINGLE_PROOFS * 0.99)] ?? Number.NaN
}

/** One proof, so that whoever started is known to serve. */
async function proves({ url }: Aggregator, senders: readonly Sender[]): Promise<void> {
  const response = await fetch(`${url}/v1/proofs/${leavesInTurn(senders)()}`)
  if (response.status !== 200) throw new Error(`expected a proof, got ${await response.text()}`)
  await response.text()
}

/** Leaves all over all logs, in an order that looks like chance and is the same in every run. */
function leavesInTurn(senders: readonly Sender[]): () => string {
  let asked = 0
  return () => {
    const sender = senders[asked % senders.length]
    asked++
    if (sender === undefined) throw new Error('no log to ask about')
    return sender.leafAt((asked * 7_368_787) % sender.size)
  }
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exit
}

function sizeOf(senders: readonly Sender[]): number {
  return senders.reduce((sum, sender) => sum + sender.size, 0)
}

function toRows(costs: readonly Cost[]): Row[] {
  return costs.flatMap((cost) => {
    const id = `growth.${cost.leaves / MILLION}m`
    const at = `at ${cost.leaves.toLocaleString('en-US')} leaves`
    return [
      { id: `${id}.ingest`, name: `leaves a second, ${at}`, value: Math.round(cost.ingestPerSecond), unit: '1/s' },
      {
        id: `${id}.memory`,
        name: `most memory, ${at}`,
        value: cost.memoryMebibytes,
        unit: 'MiB',
        target: { value: 512, direction: 'at most' },
      },
      { id: `${id}.proofs`, name: `proofs a second, ${at}`, value: Math.round(cost.proofsPerSecond), unit: '1/s' },
      { id: `${id}.disk`, name: `bytes a leaf, ${at}`, value: cost.diskBytesPerLeaf, unit: 'B' },
    ] satisfies Row[]
  })
}

function toMarkdown(costs: readonly Cost[]): string {
  const lines = costs.map((cost) => {
    const cells = [
      cost.leaves.toLocaleString('en-US'),
      Math.round(cost.ingestPerSecond).toLocaleString('en-US'),
      `${cost.memoryMebibytes} MiB`,
      `${cost.settleSeconds.toFixed(1)} s`,
      cost.diskBytesPerLeaf.toFixed(1),
      Math.round(cost.proofsPerSecond).toLocaleString('en-US'),
      `${cost.proofP99Ms.toFixed(1)} ms`,
      `${cost.startSeconds.toFixed(1)} s`,
    ]
    return `| ${cells.join(' | ')} |`
  })
  return `# What an aggregator costs as its logs grow

Written by \`npm run bench -- growth\`: one aggregator process over HTTP, a PostgreSQL that syncs, and a chain, on the same two cores. Two
enclaves deliver 250,000 leaves at a time, in turn with what makes them up; every five seconds what is there settles. Medians; memory is the most that
the aggregator had since the size before.

| leaves | taken in a second | memory | settled after | disk, bytes a leaf | proofs a second, 100 at a time | one proof, p99 | started again after |
| --- | --- | --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`
}
