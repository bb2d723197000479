/**
 * Half an hour at load: paid answers without a pause, storms on every port now and then, heads and clearings that settle. No role's memory grows with time.
 * SEALPATH_SOAK_MINUTES makes it another time. @module
 */
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
const MEBIBYTES_GROWN_MAX = 16
/** 100 OPG each: more than they can spend in an hour. */
const CREDIT_UNITS = 100_000_000n
const PORT = 20_845

let network: LocalNetwork
let clients: SealedClient[]
beforeAll(async () => {
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
afterAll(() => network?.stop(), 60_000)

it(`serves for ${MINUTES} minutes in memory that does not grow`, async () => {
  const samples = new Map<Role, { mebibytes: number; files: number }[]>(ROLES.map((role) => [role, []]))
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
      const { pid } = network.children[role].process
      samples.get(role)?.push({ mebibytes: residentMebibytes(pid), files: openFiles(pid) })
    }
  }
  await Promise.all([...asking, storming])
  expect(failures).toEqual([])
  const grown = ROLES.map((role) => {
    const taken = samples.get(role) ?? []
    const quarter = Math.floor(taken.length / 4)
    const [second, last] = [taken.slice(quarter, 2 * quarter), taken.slice(-quarter)]
    const median = (of: typeof taken, key: 'mebibytes' | 'files') =>
      of.map((sample) => sample[key]).toSorted((a, b) => a - b)[Math.floor(of.length / 2)] ?? Number.NaN
    return {
      role,
      from: Math.round(median(second, 'mebibytes')),
      to: Math.round(median(last, 'mebibytes')),
      filesFrom: median(second, 'files'),
      filesTo: median(last, 'files'),
    }
  })
  process.stdout.write(`${answers} paid answers; ${JSON.stringify(grown)}\n`)
  expect(answers).toBeGreaterThan(MINUTES * 60)
  for (const { role, from, to, filesFrom, filesTo } of grown) {
    expect(to - from, `${role}: ${from} MiB became ${to} MiB`).toBeLessThanOrEqual(MEBIBYTES_GROWN_MAX)
    expect(filesTo - filesFrom, `${role}: open files`).toBeLessThanOrEqual(20)
  }
})

async function ask(sealed: SealedClient): Promise<number> {
  const body = JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8 })
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, { method: 'POST', body })
  await response.text()
  return response.status
}
