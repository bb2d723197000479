/** An issuer's host at the real vault: deposits that were answered are not refunded, and credits that were spent are not exited. @module */
import { Hono } from 'hono'
import { parseEventLogs } from 'viem'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { createSignerPool, type SignerPool } from '#node/credits/signerPool.ts'
import { type RunningServer, startServer } from '#node/server.ts'
import { encodeUint, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { decodeEip2537G1, encodeG1 } from '#protocol/credits/points.ts'
import { createPurchase, hashIssueRequest, hashOutputs, unblindPurchase } from '#protocol/credits/purchase.ts'
import { signDigest } from '#protocol/receipt/head.ts'
import { addDutyRoutes } from '../../offchain/issuer/dutyRoutes.ts'
import type { IssueDetail, SpentCredit } from '../../offchain/issuer/store.ts'
import { connectDuty } from '../../offchain/operator/peers.ts'
import { VaultDuty } from '../../offchain/operator/vaultDuty.ts'
import { deployLocal, type LocalChain } from '../support/chain.ts'
import { depositCredits, openTestKeyset, prepareExits, type TestExits, type TestKeyset } from '../support/credits.ts'
import { SILENT } from '../support/postgres.ts'

const STATE = { refundRequested: 2, answered: 3, refunded: 4 } as const
const EXIT = { open: 1, cancelled: 2 } as const
const HOUR = 3_600
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))

let chain: LocalChain
let keyset: TestKeyset
let signer: SignerPool
let server: RunningServer
let duty: VaultDuty
let issues: Map<Hex, IssueDetail>
let spent: Map<Hex, SpentCredit>
let seeds = 0

beforeAll(async () => {
  chain = await deployLocal()
  keyset = await openTestKeyset(chain, `0x${'77'.repeat(20)}`)
  signer = await createSignerPool(keyset.secretKeys.map((key) => encodeUint(key, 32)))
  const app = new Hono()
  const store = {
    readIssue: async (_keyset: Hex, claimKey: Hex) => issues.get(claimKey),
    readSpent: async (credit: Hex) => spent.get(credit),
  }
  addDutyRoutes(app, { store, signerOf: (id) => (id === keyset.id ? signer : undefined) })
  app.get('/agent/status', (c) => c.json(issuerStatus()))
  server = await startServer(app, { host: '127.0.0.1', port: 0 })
})
afterAll(async () => {
  await server.close(1_000)
  await signer.close()
  await chain.close()
})
beforeEach(() => {
  issues = new Map()
  spent = new Map()
  const access = { client: chain.client, wallet: chain.wallet('operator'), registry: chain.addresses.registry }
  duty = new VaultDuty({ access, enclave: connectDuty(server.url), log: SILENT, pollMs: 1_000, fromBlock: 0n })
})

const vault = () => ({ address: chain.addresses.vault, abi: creditVaultAbi }) as const

async function write(functionName: 'requestRefund' | 'finishRefund' | 'openExits', args: readonly unknown[]) {
  const wallet = chain.wallet('deployer')
  const hash = await wallet.writeContract({ ...vault(), functionName, args } as never)
  return chain.client.waitForTransactionReceipt({ hash })
}

async function pass(seconds: number): Promise<void> {
  await chain.control.increaseTime({ seconds })
  await chain.control.mine({ blocks: 1 })
}

/** Only its role matters here. */
function issuerStatus(): unknown {
  const { chainId, registry, settlement } = chain.addresses
  const enclave = `0x${'77'.repeat(20)}`
  const statement = {
    chainId,
    registry,
    settlement,
    role: 'issuer',
    enclave,
    operator: enclave,
    keyConfigs: `0x${'6b'.repeat(32)}`,
  }
  return { statement, keyConfigs: 'AAAA', possession: `0x${'00'.repeat(65)}` }
}

describe('a deposit that is asked back', () => {
  async function depositAndAskBack() {
    const purchase = createPurchase(new Uint8Array(32).fill(++seeds), keyset.keyset, 0, 1_000_000n)
    await depositCredits(chain, keyset.id, 0, purchase.claimKey)
    await pass(HOUR)
    await write('requestRefund', [keyset.id, purchase.claimKey])
    return purchase
  }

  const stateOf = async (claimKey: Hex) =>
    (await chain.client.readContract({ ...vault(), functionName: 'depositOf', args: [keyset.id, claimKey] })).state

  it('and was answered gets its answer on chain, from which its holder makes the same credits', async () => {
    const purchase = await depositAndAskBack()
    const { claimKey, claimPrivateKey, outputs } = purchase
    const request = { keyset: keyset.id, claimKey, outputsHash: hashOutputs(outputs) }
    issues.set(claimKey.toLowerCase() as Hex, {
      keyset: keyset.id,
      claimKey,
      exponents: Uint8Array.from(outputs, ({ exponent }) => exponent),
      blinded: joinBytes(outputs.map(({ blinded }) => encodeG1(blinded))),
      signature: signDigest(hashIssueRequest(request, keyset.keyset), claimPrivateKey),
    })
    const before = await chain.client.getBlockNumber()
    await duty.step()
    expect(await stateOf(claimKey)).toBe(STATE.answered)
    const logs = await chain.client.getLogs({ address: vault().address, fromBlock: before + 1n })
    const [answered] = parseEventLogs({ abi: creditVaultAbi, logs, eventName: 'DepositAnswered' })
    const points = Buffer.from((answered?.args.signatures ?? '0x').slice(2), 'hex')
    const signatures = outputs.map((_, i) =>
      encodeG1(decodeEip2537G1(new Uint8Array(points.subarray(i * 128, (i + 1) * 128)))),
    )
    expect(unblindPurchase(purchase, keyset.keyset, signatures, random)).toHaveLength(outputs.length)

    const blocks = await chain.client.getBlockNumber()
    await duty.step()
    expect(await chain.client.getBlockNumber()).toBe(blocks)
  })

  it('and was never answered is left to be refunded', async () => {
    const { claimKey } = await depositAndAskBack()
    await duty.step()
    expect(await stateOf(claimKey)).toBe(STATE.refundRequested)
    await pass(24 * HOUR)
    await write('finishRefund', [keyset.id, claimKey])
    expect(await stateOf(claimKey)).toBe(STATE.refunded)
    await duty.step()
  })
})

describe('an exit', () => {
  async function openTwo(): Promise<TestExits> {
    await depositCredits(chain, keyset.id, 0, toHex(random(20)))
    const exits = prepareExits(keyset, new Uint8Array(32).fill(++seeds), 0, [3, 5], chain.account('stranger').address)
    const { status } = await write('openExits', exits.args)
    expect(status).toBe('success')
    return exits
  }

  const statesOf = ({ credits }: TestExits) =>
    Promise.all(
      credits.map(
        async (credit) =>
          (await chain.client.readContract({ ...vault(), functionName: 'exitOf', args: [credit] })).state,
      ),
    )

  function spend({ credits, secrets }: TestExits, i: number): void {
    const [credit, secret] = [credits[i], secrets[i]]
    if (credit === undefined || secret === undefined) throw new Error('expected a credit')
    spent.set(credit, { credit, exitKey: secret.exitKey, secret: secret.secret })
  }

  it('of a credit that was spent is cancelled, and others are left alone', async () => {
    const exits = await openTwo()
    spend(exits, 0)
    await duty.step()
    expect(await statesOf(exits)).toEqual([EXIT.cancelled, EXIT.open])
    const blocks = await chain.client.getBlockNumber()
    await duty.step()
    expect(await chain.client.getBlockNumber()).toBe(blocks)
  })

  it('is watched until it ends: one found spent later is cancelled then, also after a restart', async () => {
    const exits = await openTwo()
    await duty.step()
    expect(await statesOf(exits)).toEqual([EXIT.open, EXIT.open])
    spend(exits, 1)
    await duty.step()
    expect(await statesOf(exits)).toEqual([EXIT.open, EXIT.cancelled])
    spend(exits, 0)
    const access = { client: chain.client, wallet: chain.wallet('operator'), registry: chain.addresses.registry }
    const restarted = new VaultDuty({
      access,
      enclave: connectDuty(server.url),
      log: SILENT,
      pollMs: 20,
      fromBlock: 0n,
    })
    restarted.start()
    while ((await statesOf(exits))[0] === EXIT.open) await new Promise((resolve) => setTimeout(resolve, 20))
    await restarted.close()
    expect(await statesOf(exits)).toEqual([EXIT.cancelled, EXIT.cancelled])
  })
})

describe('the enclave', () => {
  it('answers for what it issued and what was spent, and refuses what is no question', async () => {
    const get = (path: string) => fetch(`${server.url}${path}`)
    const unknown = await get(`/agent/answers/${keyset.id}/0x${'12'.repeat(20)}`)
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { error: { code: 'NOT_FOUND' } }])
    const enclave = connectDuty(server.url)
    expect(await enclave.issuedAnswer(keyset.id, `0x${'12'.repeat(20)}`)).toBeUndefined()
    expect(await enclave.spent([`0x${'12'.repeat(32)}`])).toEqual([])
    expect((await get(`/agent/answers/${keyset.id}/nothing`)).status).toBeGreaterThanOrEqual(400)
  })
})
