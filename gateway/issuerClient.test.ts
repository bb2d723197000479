/** A gateway before several issuers of which one writes: real seals and evidence, and answers as each test says. @module */
import { setTimeout } from 'node:timers/promises'
import { Hono } from 'hono'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { startServer } from '#node/server.ts'
import { encodeUtf8, type Hex } from '#protocol/bytes.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { ISSUER_STATUS, type IssuerErrorCode } from '#protocol/wire/issuerApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { createIssuerClient, type IssuerClient } from './issuerClient.ts'

const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
const PAYMENT: Hex = `0x${'9a'.repeat(32)}`
const DEAD = 'http://127.0.0.1:9'
const KEY = new Uint8Array(32).fill(1)
const suites = createNodeSuites()
const root = createDevelopmentRoot(Math.floor(Date.now() / 1000))

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

type Scripted = {
  readonly url: string
  readonly enclave: Hex
  /** Changes its sealing keys; the old ones open nothing more. */
  readonly changeKeys: () => Promise<void>
  says: 'yes' | IssuerErrorCode
  asked: number
  /** Its evidence is filled up to so many bytes. */
  evidenceBytes: number
}

const OVERLAP_SECONDS = 0.01

/** An issuer that answers every capture alike. */
async function startIssuer(says: Scripted['says']): Promise<Scripted> {
  const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), root, now: Date.now })
  const enclave = await bootEnclave('issuer', BINDING, attester, suites, OVERLAP_SECONDS)
  await enclave.renewEvidence(new Uint8Array(32))
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites,
    replay: new ReplayMemory(Date.now),
    async handle() {
      issuer.asked++
      const { says: code } = issuer
      const answer = code === 'yes' ? { fee: 7n } : { error: { code, message: code } }
      return { status: code === 'yes' ? 200 : ISSUER_STATUS[code], headers: [], body: encodeUtf8(toJson(answer)) }
    },
  })
  const publicApp = createPublicApp(enclave, sealed, () => [])
  const app = new Hono()
  app.get('/evidence', async (c) => {
    const evidence = await publicApp.request('/evidence')
    return c.body((await evidence.text()).padEnd(issuer.evidenceBytes))
  })
  app.all('*', (c) => publicApp.fetch(c.req.raw))
  const server = await startServer(app, { host: '127.0.0.1', port: 0 })
  closers.push(() => server.close(0))
  const id = enclave.statement.enclave.toLowerCase() as Hex
  const changeKeys = async () => {
    const [old] = enclave.keys.configs()
    await enclave.useKeys((await enclave.nextKeys()).hash)
    while (old !== undefined && enclave.keys.get(old.keyId) !== undefined) await setTimeout(1)
  }
  const issuer: Scripted = { url: server.url, enclave: id, changeKeys, says, asked: 0, evidenceBytes: 0 }
  return issuer
}

function connect(...urls: readonly string[]): IssuerClient {
  return createIssuerClient({
    urls,
    chain: { ...BINDING, vault: `0x${'7a'.repeat(20)}` },
    roots: () => [pinDevelopmentRoot(root)],
    suites,
    enclave: enclaveOfKey(KEY).toLowerCase() as Hex,
    privateKey: KEY,
    nowSeconds: () => Date.now() / 1000,
  })
}

describe('a gateway with several issuers', () => {
  it.each(['EXIT_ONLY', 'UNAVAILABLE', 'UNKNOWN_KEYSET', 'UNKNOWN_PAYMENT', 'BAD_PAYMENT'] as const)(
    'asks the next one after %s, and that one first from then on',
    async (code) => {
      const [standby, writer] = [await startIssuer(code), await startIssuer('yes')]
      const client = connect(standby.url, writer.url)
      expect(client.enclave).toBeUndefined()
      expect(await client.capture(PAYMENT, 7n)).toEqual({ fee: 7n })
      expect(client.enclave).toBe(writer.enclave)
      await client.capture(PAYMENT, 7n)
      expect([standby.asked, writer.asked]).toEqual([1, 2])
    },
  )

  it('asks the next one when one is dead, and comes back when they change places', async () => {
    const writer = await startIssuer('yes')
    const client = connect(DEAD, writer.url)
    expect(await client.capture(PAYMENT, 7n)).toEqual({ fee: 7n })
    const other = await startIssuer('EXIT_ONLY')
    const both = connect(writer.url, other.url)
    await both.capture(PAYMENT, 7n)
    writer.says = 'EXIT_ONLY'
    other.says = 'yes'
    await both.capture(PAYMENT, 7n)
    expect(both.enclave).toBe(other.enclave)
  })

  it('notices that one has other keys, without losing the request', async () => {
    const writer = await startIssuer('yes')
    const client = connect(writer.url)
    for (let i = 1; i <= 3; i++) {
      expect(await client.capture(PAYMENT, 7n)).toEqual({ fee: 7n })
      expect(writer.asked).toBe(i)
      await writer.changeKeys()
    }
  })

  it('reads 65,536 bytes of an issuer’s evidence and not one more', async () => {
    const issuer = await startIssuer('yes')
    issuer.evidenceBytes = 65_536
    expect(await connect(issuer.url).capture(PAYMENT, 7n)).toEqual({ fee: 7n })
    issuer.evidenceBytes = 65_537
    await expect(connect(issuer.url).capture(PAYMENT, 7n)).rejects.toMatchObject({
      code: 'PEER_FAILED',
      message: expect.stringContaining('serves no /evidence'),
    })
  })

  it('takes the word of the writer: what it refuses for good is asked of nobody else', async () => {
    const [writer, other] = [await startIssuer('SPENT'), await startIssuer('yes')]
    const client = connect(writer.url, other.url)
    await expect(client.reserve(new Uint8Array(3))).rejects.toMatchObject({ name: 'IssuerRefusal', code: 'SPENT' })
    expect(other.asked).toBe(0)
    expect(client.enclave).toBe(writer.enclave)
  })

  it('tells that the writer cannot open a payment, whoever else cannot be reached or is not ready', async () => {
    const [writer, standby] = [await startIssuer('BAD_PAYMENT'), await startIssuer('UNAVAILABLE')]
    await expect(connect(DEAD, writer.url, standby.url).reserve(new Uint8Array(3))).rejects.toMatchObject({
      name: 'IssuerRefusal',
      code: 'BAD_PAYMENT',
    })
  })

  it('tells a failure that may pass rather than the refusal of one that does not write', async () => {
    const standby = await startIssuer('EXIT_ONLY')
    await expect(connect(standby.url, DEAD).capture(PAYMENT, 7n)).rejects.toMatchObject({ code: 'PEER_FAILED' })
    const busy = await startIssuer('UNAVAILABLE')
    await expect(connect(standby.url, busy.url).capture(PAYMENT, 7n)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(connect(DEAD, busy.url).capture(PAYMENT, 7n)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const stranger = await startIssuer('UNKNOWN_PAYMENT')
    await expect(connect(stranger.url, standby.url).capture(PAYMENT, 7n)).rejects.toMatchObject({
      code: 'UNKNOWN_PAYMENT',
    })
  })
})
