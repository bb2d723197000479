/**
 * Sealing keys of gateway and issuer are replaced while clients go on: every role a process, the registry a real contract. No request fails, neither of
 * a client that asks all the time nor of one that comes back when its keys are gone.
 * @module
 */
import { setTimeout } from 'node:timers/promises'
import OpenAI from 'openai'
import { createTestClient, http } from 'viem'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { decodeUtf8 } from '#protocol/bytes.ts'
import { bindsKeyConfigs } from '#protocol/evidence/keyAnnouncement.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { Step } from '../../offchain/sdk/options.ts'
import { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'

/**
 * Less than a reserve lasts, as the chain's clock is put forward while requests are under way; more than it goes by itself before. An enclave's keys change
 * once: both slots of the registry are taken then, for days.
 */
const KEYS = { rotationSeconds: 240, overlapSeconds: 8 }
/** Between two questions of one who asks all the time. */
const PAUSE_MS = 200
const ROLES = ['gateway', 'issuer'] as const
type Role = (typeof ROLES)[number]

let network: LocalNetwork

beforeAll(async () => {
  network = await startLocalNetwork({
    port: 23_745,
    keys: KEYS,
    onCrash: (error) => {
      throw error
    },
  })
}, 240_000)

afterAll(() => network?.stop(), 60_000)

it('no request fails while gateway and issuer change their keys, and none after the old ones are gone', async () => {
  const steps: Step[] = []
  const [busy, idle] = [await client(1, steps), await client(2, steps)]
  const first = await keyIds()
  await ask(busy)
  await ask(idle)
  expect(await keyIds()).toEqual(first)
  const chain = createTestClient({ mode: 'hardhat', transport: http(network.urls.rpc) })
  await chain.increaseTime({ seconds: KEYS.rotationSeconds })
  await chain.mine({ blocks: 1 })
  const hasChanged = async () => {
    const now = await keyIds()
    return ROLES.every((role) => !now[role].some((id) => first[role].includes(id)))
  }
  let answers = 0
  const askAndPause = async () => {
    await ask(busy)
    await setTimeout(PAUSE_MS)
  }
  for (; !(await hasChanged()); answers++) await askAndPause()
  // The old keys end somewhere in this time.
  for (const until = performance.now() + 2_000 * KEYS.overlapSeconds; performance.now() < until; answers++)
    await askAndPause()
  expect(answers).toBeGreaterThan(10)
  // This one still holds keys that open nothing any more, of the gateway and of the issuer.
  await ask(idle)
  expect(steps.filter(({ kind }) => kind === 'receipt-verified')).toHaveLength(answers + 3)
}, 180_000)

it('what is served afterwards is bound by the enclave’s announcement, and changed by one bit by nothing', async () => {
  for (const role of ROLES) {
    const { statement, announcement } = parseJson(
      PublicEvidenceSchema,
      decodeUtf8(await read(role, 'evidence')),
      'evidence',
    )
    const keys = await read(role, 'ohttp-keys')
    const domain = { chainId: statement.chainId, registry: statement.registry }
    expect(bindsKeyConfigs(statement, announcement, keys, domain)).toBe(true)
    expect(bindsKeyConfigs(statement, undefined, keys, domain)).toBe(false)
    const changed = keys.slice()
    changed[20] = (changed[20] ?? 0) ^ 1
    expect(bindsKeyConfigs(statement, announcement, changed, domain)).toBe(false)
    expect(bindsKeyConfigs(statement, announcement, keys, { ...domain, chainId: 1 })).toBe(false)
  }
})

async function client(seed: number, steps: Step[]): Promise<SealedClient> {
  const { wallet } = await network.buyCredits({ seed: new Uint8Array(32).fill(seed) })
  expect(wallet).toBeInstanceOf(Wallet)
  return connect({
    rpcUrl: network.urls.rpc,
    relayUrl: network.urls.relay,
    registry: network.deployment().registry,
    wallet,
    onStep: (step) => steps.push(step),
  })
}

async function ask(sealed: SealedClient): Promise<void> {
  const openai = new OpenAI({ baseURL: sealed.baseURL, apiKey: 'none', fetch: sealed.fetch, maxRetries: 0 })
  const { choices } = await openai.chat.completions.create({
    model: DEMO_MODEL,
    messages: [{ role: 'user', content: 'What is Sealpath?' }],
    max_tokens: 16,
  })
  expect(choices[0]?.message.content).toBeTruthy()
  await sealed.idle()
}

async function keyIds(): Promise<Record<Role, number[]>> {
  const ids = async (role: Role) => parseKeyConfigList(await read(role, 'ohttp-keys')).map(({ keyId }) => keyId)
  return { gateway: await ids('gateway'), issuer: await ids('issuer') }
}

async function read(role: Role, document: 'evidence' | 'ohttp-keys'): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(`${network.urls[role]}/${document}`)).arrayBuffer())
}
