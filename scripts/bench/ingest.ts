/** Taking in leaves: an aggregator process over HTTP, with a real PostgreSQL that syncs, on a chain that knows the enclaves. @module */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deployLocal } from '../../test/support/chain.ts'
import { freePort } from '../../test/support/freePort.ts'
import { startPostgres } from '../../test/support/postgres.ts'
import { deliver, peakMebibytes, Sender } from './ingestSender.ts'
import { BenchProcesses } from './processes.ts'
import { type Row, summarize } from './row.ts'

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
    const deliveries = Array.from({ length: RUNS + 1 }, () => senders.map((sender) => sender.next(LEAVES)))
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
        ...summarize(rates),
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
