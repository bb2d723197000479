/** Every public port of a live network among clients that hold on and clients that tear down: answers go on, and all is given back. @module */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { holdOn, openFiles, reset, residentMebibytes } from '../support/storm.ts'

const ROLES = [
  { role: 'relay', path: '/gateways/demo' },
  { role: 'gateway', path: '/gateway' },
  { role: 'issuer', path: '/gateway' },
  { role: 'aggregator', path: '/v1/heads' },
] as const
const HELD = 300
const RESETS = 600
/** What a process may keep: connections of its own that it made meanwhile, and a heap that has grown to what the storm needed. */
const FILES_KEPT_MAX = 20
const MEBIBYTES_KEPT_MAX = 96

let network: LocalNetwork
let sealed: SealedClient
beforeAll(async () => {
  network = await startLocalNetwork({
    port: 25_145,
    onCrash: (error) => {
      throw error
    },
  })
  const { wallet } = await network.buyCredits({ seed: new Uint8Array(32).fill(31) })
  const { relay, rpc } = network.urls
  sealed = await connect({ rpcUrl: rpc, relayUrl: relay, registry: network.deployment().registry, wallet })
}, 240_000)
afterAll(() => network?.stop(), 60_000)

async function ask(): Promise<number> {
  const body = JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8 })
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, { method: 'POST', body })
  await response.text()
  return response.status
}

it('slow-loris connections are ended with 408 on every port, resets leave nothing behind, and paid answers come meanwhile', async () => {
  expect(await ask()).toBe(200)
  const before = ROLES.map(({ role }) => measure(role))
  let isOver = false
  const asking = (async () => {
    const statuses: number[] = []
    while (!isOver) statuses.push(await ask())
    return statuses
  })()
  const storms = await Promise.all(
    ROLES.map(async ({ role, path }) => {
      const url = network.urls[role]
      const [said] = await Promise.all([holdOn(url, HELD), reset(url, path, RESETS)])
      return said
    }),
  )
  isOver = true
  for (const said of storms) {
    expect(said).toHaveLength(HELD)
    expect(new Set(said.map((text) => text.split('\r\n')[0]))).toEqual(new Set(['HTTP/1.1 408 Request Timeout']))
  }
  const statuses = await asking
  expect(statuses.length).toBeGreaterThan(1)
  expect(new Set(statuses)).toEqual(new Set([200]))
  for (const [i, { role }] of ROLES.entries()) {
    const { files, mebibytes } = before[i] ?? { files: 0, mebibytes: 0 }
    await waitFor(`the sockets of the ${role}`, async () => measure(role).files <= files + FILES_KEPT_MAX, 20_000)
    expect(measure(role).mebibytes, role).toBeLessThan(mebibytes + MEBIBYTES_KEPT_MAX)
  }
})

function measure(role: (typeof ROLES)[number]['role']): { files: number; mebibytes: number } {
  const { pid } = network.children[role].process
  return { files: openFiles(pid), mebibytes: residentMebibytes(pid) }
}
