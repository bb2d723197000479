/**
 * From an empty folder to earning: a network on anvil whose aggregator, issuer, two gateways and relay are set up by following the documents for their operators,
 * command by command, each role a process of its own; then somebody buys credits and asks, and the network lives through a restart, a dead gateway and a measurement
 * that is revoked.
 * @module
 */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { createPublicClient, createWalletClient, erc20Abi, http } from 'viem'
import { mnemonicToAccount, privateKeyToAddress } from 'viem/accounts'
import { anvil as anvilChain } from 'viem/chains'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { testOPGAbi } from '#chain/generated/abis.ts'
import { loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { measureSources } from '#node/attesters/sourcePcrs.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { type Anvil, startAnvil } from '../support/anvil.ts'
import { DocumentWalk } from '../support/documentWalk.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const OPG = 10n ** 18n
const OWNER_INDEX = 0
const BUYER_INDEX = 6

let anvil: Anvil
let walk: DocumentWalk
let folder: string
let deployment: Deployment

const account = (index: number) => mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: index })
const client = () =>
  createPublicClient({ chain: anvilChain, transport: http(anvil.rpcUrl), cacheTime: 0, pollingInterval: 50 })
const at = (...path: string[]): string => join(folder, ...path)

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-operators-'))
  // The embedded PostgreSQL runs as a user of its own when started by root, and must get through to its folder.
  chmodSync(folder, 0o755)
  anvil = await startAnvil(Math.floor(Date.now() / 1000), { isTicking: true })
  walk = new DocumentWalk(folder, {
    SEALPATH_PASSPHRASE: 'correct horse',
    SEALPATH_RPC_URL: anvil.rpcUrl,
    SEALPATH_IGNITION_FOLDER: at('ignition'),
  })
  saveKey('owner.key', OWNER_INDEX)
  saveKey('buyer.key', BUYER_INDEX)
})

afterAll(async () => {
  await walk?.stop()
  await anvil?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

function saveKey(name: string, index: number): void {
  const key = account(index).getHdKey().privateKey ?? new Uint8Array()
  writeFileSync(at(name), toHex(key), { mode: 0o600 })
}

/** Where documents name the usual port of a chain, ours is meant. */
const chainPort = (): readonly [string, string] => [':8545', `:${new URL(anvil.rpcUrl).port}`]

/** What the reader of a document does besides: coins and OPG for a new account, and on a local chain the root that stands in for AWS's. */
async function afterCommand(command: string): Promise<void> {
  const made = /^sealpath init .* --folder (\S+)|^sealpath init (\w+)/.exec(command)
  if (made === null) return
  const role = made[1] ?? made[2] ?? ''
  const root = at(role, 'development-root.json')
  if (!existsSync(root)) writeFileSync(root, readFileSync(at('development-root.json')), { mode: 0o600 })
  for (const file of readdirSync(at(role)).filter((name) => name.endsWith('.key'))) {
    const address = privateKeyToAddress(readFileSync(at(role, file), 'utf8').trim() as Hex)
    await anvil.request('anvil_setBalance', [address, `0x${OPG.toString(16)}`])
    await give(address, 30_000n * OPG)
  }
}

async function give(address: Hex, amount: bigint): Promise<void> {
  const wallet = createWalletClient({ chain: anvilChain, transport: http(anvil.rpcUrl), account: account(OWNER_INDEX) })
  const hash = await wallet.writeContract({
    address: deployment.token,
    abi: testOPGAbi,
    functionName: 'mint',
    args: [address, amount],
  })
  await client().waitForTransactionReceipt({ hash })
}

/** What calls itself ready once the enclave behind a configuration is registered. */
const REGISTERED_AT = new Map([
  ['issuer/issuer.json', ['http://127.0.0.1:8462', 'http://127.0.0.1:8460']],
  ['gateway/gateway.json', ['http://127.0.0.1:8445']],
  ['south/gateway.json', ['http://127.0.0.1:8455']],
])

/** A status is asked for when the role has had the time to register. */
async function beforeCommand(command: string): Promise<void> {
  const config = /^sealpath doctor --config (\S+)$/.exec(command)?.[1] ?? ''
  for (const url of [
    ...[...command.matchAll(/--role (\S+)/g)].map(([, role = '']) => role),
    ...(REGISTERED_AT.get(config) ?? []),
  ]) {
    await waitFor(url, async () => (await fetch(new URL('/readyz', url))).ok, 60_000)
  }
}

const HOOKS = { before: beforeCommand, after: afterCommand }

/** Units that all answers have cost so far. */
let feesPaid = 0n

async function chat(question: string, options = ''): Promise<string> {
  const said = await walk.run(`sealpath chat --wallet wallet --max-tokens 40 --padding off ${options} ${question}`)
  feesPaid += BigInt(/fee (\d+) units/.exec(said)?.[1] ?? '0')
  return said
}

type Shown = {
  readonly enclaves: {
    enclave: Hex
    state: string
    earned: string
    cleared: string
    share: string
    payout: { drawn: string }
  }[]
}

async function earningsOf(role: string): Promise<Shown> {
  return JSON.parse(await walk.run(`sealpath earnings show --json --key-file ${role}/operator.key`)) as Shown
}

function opgOf(address: Hex): Promise<bigint> {
  return client().readContract({ address: deployment.token, abi: erc20Abi, functionName: 'balanceOf', args: [address] })
}

it('is deployed to anvil, and what this checkout measures as is approved', async () => {
  loadDevelopmentRoot(at('development-root.json'), Math.floor(Date.now() / 1000))
  await walk.run(
    `sealpath deploy --network localhost --protocol ${account(4).address} --development-root development-root.json --out ${at('deployment.json')}`,
  )
  deployment = readDeployment(at('deployment.json'))
  walk.env.SEALPATH_RPC = anvil.rpcUrl
  walk.env.SEALPATH_DEPLOYMENT = at('deployment.json')
  walk.env.SEALPATH_REGISTRY = deployment.registry
  for (const role of ['gateway', 'issuer'] as const) {
    const subject = `--role ${role} --measurement ${measured(role)}`
    await walk.run(`sealpath measurement propose ${subject} --key-file owner.key`)
    await walk.run(`sealpath measurement execute ${subject} --key-file owner.key`)
    expect(await walk.run(`sealpath measurement show ${subject}`)).toContain(': approved')
  }
}, 240_000)

function measured(role: 'gateway' | 'issuer'): Hex {
  const pcrs = measureSources(REPOSITORY, role)
  const pcr = (index: number) => pcrs.get(index) ?? new Uint8Array(48)
  return measurementOf('development', pcr(0), pcr(1), pcr(2))
}

it('gets an aggregator as docs/operate-aggregator.md says', async () => {
  await walk.follow('docs/operate-aggregator.md', [chainPort()], HOOKS)
})

it('gets an issuer as docs/operate-issuer.md says, whose keyset the owner opens', async () => {
  await walk.follow('docs/operate-issuer.md', [chainPort()], {
    async before(command) {
      if (command.startsWith('sealpath keyset export')) {
        // Only a registered issuer's keys are opened.
        await waitFor('the issuer', async () => (await fetch('http://127.0.0.1:8462/readyz')).ok, 60_000)
      }
      await beforeCommand(command)
    },
    async after(command) {
      await afterCommand(command)
      if (!command.startsWith('sealpath keyset export')) return
      await walk.run('sealpath keyset propose --file keyset.json --key-file owner.key')
      await walk.run('sealpath keyset execute --file keyset.json --key-file owner.key')
    },
  })
}, 240_000)

it('gets two gateways as docs/operate-gateway.md says', async () => {
  await walk.follow('docs/operate-gateway.md', [chainPort()], HOOKS)
  const south = [
    ['--folder gateway', '--folder south'],
    ['gateway/', 'south/'],
    [':8443', ':8453'],
    [':8445', ':8455'],
  ] as const
  await walk.follow('docs/operate-gateway.md', [chainPort(), ...south], HOOKS)
}, 240_000)

it('gets a relay as docs/operate-relay.md says', async () => {
  await walk.follow('docs/operate-relay.md', [chainPort()], HOOKS)
})

it('sells credits, answers, and settles the answer', async () => {
  walk.env.SEALPATH_RELAY = 'http://127.0.0.1:8080'
  walk.env.SEALPATH_AGGREGATOR = 'http://127.0.0.1:8090'
  await give(account(BUYER_INDEX).address, 100n * OPG)
  await walk.run('sealpath credits buy 1 --key-file buyer.key --wallet wallet')
  const said = await chat('What is a receipt?', '--settle --save receipt.json')
  expect(said).toContain('receipt verified')
  expect(said).toMatch(/settled in batch \d+/)
  expect(await walk.run('sealpath verify receipt.json --rpc $SEALPATH_RPC')).toMatch(/ok +settled/)
}, 240_000)

it('pays the operator what gateway and issuer agree on', async () => {
  for (let i = 0; i < 4; i++) await chat(`Question ${i}?`)
  const earnedBy = async (role: string): Promise<{ earned: bigint; cleared: bigint }> => {
    const { enclaves } = await earningsOf(role)
    const sum = (pick: 'earned' | 'cleared') => enclaves.reduce((total, entry) => total + BigInt(entry[pick]), 0n)
    return { earned: sum('earned'), cleared: sum('cleared') }
  }
  // All of it: what came after a withdrawal would wait to be drawn.
  await waitFor(
    'every answer to be settled and cleared',
    async () => {
      const [one, other] = [await earnedBy('gateway'), await earnedBy('south')]
      return one.earned + other.earned === feesPaid && one.cleared + other.cleared === feesPaid
    },
    60_000,
  )
  expect(feesPaid).toBeGreaterThan(0n)
  const richer = (await earnedBy('gateway')).earned > 0n ? 'gateway' : 'south'
  const operator = privateKeyToAddress(readFileSync(at(richer, 'operator.key'), 'utf8').trim() as Hex)
  const before = await opgOf(operator)
  expect(await walk.run(`sealpath earnings withdraw --key-file ${richer}/operator.key`)).toContain('drawn: ')
  expect(await opgOf(operator)).toBeGreaterThan(before)
  expect(await walk.run(`sealpath earnings show --key-file ${richer}/operator.key`)).toContain(
    'waiting to be drawn 0 OPG',
  )
}, 240_000)

it("shows the operator its earnings on the agent's page, and draws them there", async () => {
  for (let i = 0; i < 4; i++) await chat(`Another question ${i}?`)
  const waiting = async (role: string): Promise<bigint> =>
    (await earningsOf(role)).enclaves.reduce((sum, { share, payout }) => sum + BigInt(share) - BigInt(payout.drawn), 0n)
  let role = ''
  await waitFor(
    'more to draw',
    async () => {
      for (const each of ['gateway', 'south']) if ((await waiting(each)) > 0n) role = each
      return role !== ''
    },
    60_000,
  )
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox'],
  })
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 900 } })
    const complaints: string[] = []
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    await page.goto(`http://127.0.0.1:${role === 'south' ? 8456 : 8446}/`)
    const withdraw = page.getByRole('button', { name: 'Withdraw' })
    await withdraw.click()
    await page
      .getByRole('status')
      .getByText(/thawing: .*drawn: /)
      .waitFor()
    await page.getByText('registered', { exact: true }).waitFor()
    await page.getByRole('rowheader', { name: 'sealpath-demo-1m' }).waitFor()
    if (process.env.SEALPATH_SCREENSHOTS !== undefined)
      await page.screenshot({ path: join(process.env.SEALPATH_SCREENSHOTS, 'operator.png'), fullPage: true })
    expect(complaints).toEqual([])
  } finally {
    await browser.close()
  }
  const { status } = await fetch(`http://127.0.0.1:${role === 'south' ? 8456 : 8446}/v1/withdraw`, {
    method: 'POST',
    headers: { 'sec-fetch-site': 'cross-site' },
  })
  expect(status).toBe(403)
}, 240_000)

it('replaces the keys of a gateway by a restart that loses no request', async () => {
  // Whichever of them the client asks, it is restarted meanwhile.
  for (const role of ['gateway', 'south']) {
    const [old] = (await earningsOf(role)).enclaves
    const asked = walk.attempt(
      'sealpath chat --max-tokens 200 --padding off --wallet wallet What is a very long answer?',
    )
    await walk.end(`${role}/gateway.json`, 'SIGTERM')
    await walk.run(`sealpath gateway --config ${role}/gateway.json`)
    expect(await asked).toMatchObject({ code: 0, output: expect.stringContaining('receipt verified') })
    const hasNewOnly = async () => {
      const states = new Map((await earningsOf(role)).enclaves.map(({ enclave, state }) => [enclave, state]))
      return (
        states.size === 2 && states.get(old?.enclave ?? '0x') === 'retired' && [...states.values()].includes('active')
      )
    }
    await waitFor('the new registration', hasNewOnly, 60_000)
  }
}, 240_000)

it('goes on with one gateway while the other is dead', async () => {
  await walk.end('south/gateway.json', 'SIGKILL')
  for (let i = 0; i < 4; i++) expect(await chat(`Anybody ${i}?`)).toContain('receipt verified')
}, 240_000)

it('has no gateway any more once the measurement is revoked and its enclaves are ended', async () => {
  const subject = `--role gateway --measurement ${measured('gateway')}`
  await walk.run(`sealpath measurement revoke ${subject} --key-file owner.key`)
  await walk.run(`sealpath measurement invalidate ${subject} --key-file buyer.key`)
  const { code, output } = await walk.attempt('sealpath chat --wallet wallet Anybody?')
  expect(code).toBe(1)
  expect(output).toContain('no such enclave behind this relay')
  for (const role of ['gateway', 'south']) {
    expect((await earningsOf(role)).enclaves.map(({ state }) => state)).not.toContain('active')
  }
})
