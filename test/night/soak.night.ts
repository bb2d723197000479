/**
 * Half an hour at load: paid answers without a pause, storms on every port now and then, heads and clearings that settle. No role's memory grows with time:
 * neither what its code holds, nor what the system gives it. SEALPATH_SOAK_MINUTES makes it another time. @module
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { openFiles, reset, residentMebibytes } from '../support/storm.ts'

const ROLES = ['relay', 'gateway', 'issuer', 'aggregator', 'operator', 'issuerOperator'] as const
type Role = (typeof ROLES)[number]
const MINUTES = Number(process.env.SEALPATH_SOAK_MINUTES ?? '30')
const SAMPLE_MS = 10_000
const STORM_MS = 60_000
const CLIENTS = 4
/** Growth that counts as none: from the median of the second quarter, when caches are full, to that of the last. */
const GROWN_MAX = { live: 4, resident: 16, files: 20 } as const
/** 100 OPG each: more than they can spend in an hour. */
const CREDIT_UNITS = 100_000_000n
const PORT = 20_845

/** Mebibytes that a process holds, mebibytes that the system gives it, and its open files. */
type Sample = { readonly live: number; readonly resident: number; readonly files: number }

let folder: string
let network: LocalNetwork
let clients: SealedClient[]
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-soak-'))
  process.env.SEALPATH_LIVE_MEMORY = folder
  process.env.NODE_OPTIONS = `--import ${import.meta.resolve('../support/liveMemory.ts')}`
  network = await startLocalNetwork({
    port: PORT,
    onCrash: (error) => {
      throw error
    },
  })
  clients = []
  for (let i = 0; i < CLIENTS; i++) {
    const { wallet } = await network.buyCredits({ seed: new Uint8Array(32).fill(60 + i), units: CREDIT_UNITS })
    const { relay, rpc } = network.urls
    clients.push(await connect({ rpcUrl: rpc, relayUrl: relay, registry: network.deployment().registry, wallet }))
  }
}, 240_000)
afterAll(async () => {
  await network?.stop()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

it(`serves for ${MINUTES} minutes in memory that does not grow`, async () => {
  const samples = new Map<Role, Sample[]>(ROLES.map((role) => [role, []]))
  const ends = performance.now() + MINUTES * 60_000
  const isOver = () => performance.now() >= ends
  const failures: string[] = []
  let answers = 0
  const asking = clients.map(async (sealed) => {
    while (!isOver()) {
      const status = await ask(sealed)
      if (status === 200) answers++
      else failures.push(String(status))
    }
  })
  const storming = (async () => {
    while (!isOver()) {
      for (const role of ['relay', 'gateway', 'issuer', 'aggregator'] as const)
        await reset(network.urls[role], '/', 100)
      await sleep(Math.min(STORM_MS, Math.max(0, ends - performance.now())))
    }
  })()
  while (!isOver()) {
    await sleep(SAMPLE_MS)
    for (const role of ROLES) {
      samples.get(role)?.push(sampleOf(network.children[role].process.pid))
    }
  }
  await Promise.all([...asking, storming])
  expect(failures).toEqual([])
  const grown = ROLES.map((role) => {
    const taken = samples.get(role) ?? []
    const quarter = Math.floor(taken.length / 4)
    return { role, from: medianOf(taken.slice(quarter, 2 * quarter)), to: medianOf(taken.slice(-quarter)) }
  })
  const shown = ({ live, resident, files }: Sample) =>
    `${live.toFixed(1)} held of ${resident.toFixed(0)} MiB, ${files} files`
  for (const { role, from, to } of grown) process.stdout.write(`${role}: ${shown(from)}, later ${shown(to)}\n`)
  process.stdout.write(`${answers} paid answers\n`)
  expect(answers).toBeGreaterThan(MINUTES * 60)
  for (const { role, from, to } of grown) {
    for (const key of ['live', 'resident', 'files'] as const) {
      expect(to[key] - from[key], `${role}: ${key}`).toBeLessThanOrEqual(GROWN_MAX[key])
    }
  }
})

function sampleOf(pid: number | undefined): Sample {
  const live = Number(readFileSync(join(folder, String(pid)), 'utf8')) / 2 ** 20
  return { live, resident: residentMebibytes(pid), files: openFiles(pid) }
}

function medianOf(samples: readonly Sample[]): Sample {
  const median = (key: keyof Sample): number =>
    samples.map((sample) => sample[key]).toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN
  return { live: median('live'), resident: median('resident'), files: median('files') }
}

async function ask(sealed: SealedClient): Promise<number> {
  const body = JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8 })
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, { method: 'POST', body })
  await response.text()
  return response.status
}
