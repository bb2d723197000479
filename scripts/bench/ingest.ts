/** Taking in leaves: an aggregator process over HTTP, with a real PostgreSQL that syncs, on a chain that knows the enclaves. @module */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { toBase64 } from '#protocol/bytes.ts'
import { EMPTY_EDGE, type LogEdge } from '#protocol/log/edge.ts'
import { toJson } from '#protocol/wire/json.ts'
import { extendEdge } from '../../offchain/aggregator/extendEdge.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../../test/support/chain.ts'
import { freePort } from '../../test/support/freePort.ts'
import { startPostgres } from '../../test/support/postgres.ts'
import { signEdge, syntheticLeaves } from '../../test/support/syntheticLog.ts'
import { BenchProcesses } from './processes.ts'
import { median, type Row } from './row.ts'

const RUNS = 5
/** Enclaves that deliver at once, and leaves in each delivery. */
const ENCLAVES = 2
const LEAVES = 250_000

export async function measureIngest(): Promise<Row[]> {
  const [chain, postgres] = await Promise.all([deployLocal(), startPostgres()])
  const processes = new BenchProcesses()
  try {
    const port = await freePort()
    const keyFile = join(processes.folder, 'settler.key')
    writeFileSync(keyFile, chain.keyOf('settler'))
    const child = await processes.startRole('aggregator', 'offchain/aggregator/main.ts', {
      listen: { host: '127.0.0.1', port },
      rpcUrls: [chain.rpcUrl],
      deployment: { ...chain.addresses, fromBlock: '0' },
      accountKeyFiles: [keyFile],
      database: { url: await postgres.createDatabase() },
      settle: { everySeconds: 86_400, leavesMax: 1_000_000_000 },
    })
    const senders: Sender[] = []
    for (let i = 0; i < ENCLAVES; i++) senders.push(await Sender.open(chain, i))
    const url = `http://127.0.0.1:${port}/v1/heads`
    const rates: number[] = []
    const deliveries = Array.from({ length: RUNS + 1 }, () => senders.map((sender) => sender.next()))
    for (const [run, bodies] of deliveries.entries()) {
      const begun = performance.now()
      await Promise.all(bodies.map((body) => deliver(url, body)))
      // The first round warms up.
      if (run > 0) rates.push((ENCLAVES * LEAVES) / ((performance.now() - begun) / 1000))
    }
    return [
      {
        id: 'log.ingest',
        name: 'leaves a second, durable over HTTP, two enclaves at once with 250,000 each',
        value: Math.round(median(rates)),
        unit: '1/s',
        target: { value: 300_000, direction: 'at least' },
      },
      {
        id: 'log.ingest.memory',
        name: 'most memory that the aggregator had meanwhile',
        value: peakMebibytes(child.pid),
        unit: 'MiB',
        target: { value: 512, direction: 'at most' },
      },
    ]
  } finally {
    await processes.stop()
    await postgres.close()
    await chain.close()
  }
}

/** An enclave that logs and delivers. */
class Sender {
  readonly #seed: number
  readonly #key: Uint8Array
  readonly #domain: { readonly chainId: number; readonly settlement: `0x${string}` }
  readonly #hash: (data: Uint8Array) => Uint8Array
  #edge: LogEdge = EMPTY_EDGE

  private constructor(chain: LocalChain, seed: number, key: Uint8Array, hash: (data: Uint8Array) => Uint8Array) {
    this.#seed = seed
    this.#key = key
    this.#domain = { chainId: chain.addresses.chainId, settlement: chain.addresses.settlement }
    this.#hash = hash
  }

  static async open(chain: LocalChain, seed: number): Promise<Sender> {
    const key = new Uint8Array(32).fill(0x40 + seed)
    await registerTestEnclave(chain, key)
    return new Sender(chain, seed, key, await createBulkKeccak())
  }

  /** The body of a delivery of the next leaves. */
  next(): string {
    const from = this.#edge.size
    const leaves = syntheticLeaves(this.#seed, from, LEAVES)
    this.#edge = extendEdge(this.#edge, leaves)
    return toJson({
      head: signEdge(this.#edge, this.#key, this.#domain, this.#hash),
      from: BigInt(from),
      leaves: toBase64(leaves),
    })
  }
}

async function deliver(url: string, body: string): Promise<void> {
  const response = await fetch(url, { method: 'POST', body })
  if (!response.ok) throw new Error(`expected 200, got ${response.status}: ${await response.text()}`)
  await response.body?.cancel()
}

/** Linux counts it. */
function peakMebibytes(pid: number | undefined): number {
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(peak) / 1024)
}
