/** The whole deployment and a cold registration on another node than Hardhat's, where no transaction may use more than 16,777,216 gas. @module */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type Account,
  type Chain,
  createPublicClient,
  createWalletClient,
  http,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { anvil as anvilChain } from 'viem/chains'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { enclaveRegistryAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { readLiveEnclaves } from '#chain/registry.ts'
import { advanceApproval } from '#chain/timelock.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentHost } from '#node/attesters/developmentHost.ts'
import { loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { ENCLAVE_ROLE, hashStatement } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { type Anvil, startAnvil } from '../support/anvil.ts'

const TRANSACTION_GAS_MAX = 16_777_216n
const PCRS = new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)]))
const BOND_UNITS = 1_000_000_000n
const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))

const folder = mkdtempSync(join(tmpdir(), 'sealpath-node-'))
const account = mnemonicToAccount(DEVELOPMENT_MNEMONIC)
let node: Anvil
let client: PublicClient
let wallet: WalletClient<Transport, Chain, Account>
let deployment: Deployment

beforeAll(async () => {
  node = await startAnvil(Math.floor(Date.now() / 1000))
  const options = { chain: anvilChain, transport: http(node.rpcUrl), pollingInterval: 50, cacheTime: 0 }
  client = createPublicClient(options) as PublicClient
  wallet = createWalletClient({ ...options, account })
  deployment = deployByScript(node.rpcUrl)
})

afterAll(async () => {
  await node.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What a deployer runs. */
function deployByScript(rpcUrl: string): Deployment {
  const rootFile = join(folder, 'root.json')
  loadDevelopmentRoot(rootFile, Math.floor(Date.now() / 1000))
  const out = join(folder, 'deployment.json')
  const script = join(REPOSITORY, 'scripts/deploy.ts')
  const { status, stderr } = spawnSync(
    process.execPath,
    [script, '--out', out, '--protocol', account.address, '--development-root', rootFile],
    {
      cwd: REPOSITORY,
      encoding: 'utf8',
      env: { ...process.env, SEALPATH_RPC_URL: rpcUrl, SEALPATH_IGNITION_FOLDER: join(folder, 'ignition') },
    },
  )
  if (status !== 0) throw new Error(`the deployment failed: ${stderr}`)
  return readDeployment(out)
}

it('takes no transaction of more than 16,777,216 gas', async () => {
  await expect(wallet.sendTransaction({ to: account.address, gas: TRANSACTION_GAS_MAX + 1n })).rejects.toThrow(/gas/i)
})

it('holds a deployment in which every transaction stays below the limit', async () => {
  const latest = await client.getBlockNumber()
  let most = 0n
  for (let number = 1n; number <= latest; number++) {
    const { transactions } = await client.getBlock({ blockNumber: number })
    for (const hash of transactions) {
      const { gasUsed, status } = await client.getTransactionReceipt({ hash })
      expect(status).toBe('success')
      if (gasUsed > most) most = gasUsed
    }
  }
  expect(most).toBeGreaterThan(1_000_000n)
  expect(most).toBeLessThan(TRANSACTION_GAS_MAX)
})

it('charges MODEXP what EIP-7883 says', async () => {
  // 32-byte base and modulus: 16 words squared, at least 500, times the exponent's bits: 16 * 255 for an exponent of 2^255.
  const word = (value: bigint) => value.toString(16).padStart(64, '0')
  const input =
    `0x${word(32n)}${word(32n)}${word(32n)}${word(3n)}${word(1n << 255n)}${word((1n << 255n) - 19n)}` as const
  const to = '0x0000000000000000000000000000000000000005'
  const price = 16n * 255n
  // A transaction's own price: 21,000 and its calldata at the floor of EIP-7623 or the usual price, whichever is more with the execution.
  const bytes = fromHex(input)
  const zeros = BigInt(bytes.filter((byte) => byte === 0).length)
  const tokens = zeros + 4n * (BigInt(bytes.length) - zeros)
  const usual = 21_000n + 4n * tokens + price
  const floor = 21_000n + 10n * tokens
  const hash = await wallet.sendTransaction({ to, data: input, gas: 1_000_000n })
  const { gasUsed } = await client.waitForTransactionReceipt({ hash })
  expect(usual).toBeGreaterThan(floor)
  expect(gasUsed).toBe(usual)
})

it('registers an enclave with a cold certificate chain in one transaction', async () => {
  const root = loadDevelopmentRoot(join(folder, 'root.json'), 0)
  const measurement = measurementOf('development', pcr(0), pcr(1), pcr(2))
  const approval = await advanceApproval({ client, wallet, ...deployment }, { role: ENCLAVE_ROLE.gateway, measurement })
  expect(approval.state).toBe('done')
  await depositBond()

  const privateKey = keccak256(Uint8Array.of(1))
  const { chainId, registry } = deployment
  const statement = {
    role: ENCLAVE_ROLE.gateway,
    enclave: enclaveOfKey(privateKey),
    keyConfigs: toHex(keccak256(Uint8Array.of(2))),
    operator: account.address,
  }
  const digest = hashStatement(statement, { chainId, registry })
  const attester = createDevelopmentAttester({ pcrs: PCRS, host: createDevelopmentHost(root), now: Date.now })
  const document = await attester.attest({ userData: fromHex(digest), nonce: new Uint8Array(32).fill(1) })
  const hints = makeNitroHints(
    document,
    authorityIds(document).map(() => false),
  )
  const hash = await wallet.writeContract({
    address: registry,
    abi: enclaveRegistryAbi,
    functionName: 'register',
    args: [statement, toHex(document), toHex(hints), expandSignature(signDigest(digest, privateKey))],
    gas: TRANSACTION_GAS_MAX,
  })
  const { status, gasUsed } = await client.waitForTransactionReceipt({ hash })
  expect(status).toBe('success')
  expect(gasUsed).toBeLessThan(TRANSACTION_GAS_MAX)
  const live = await readLiveEnclaves(client, registry, ENCLAVE_ROLE.gateway)
  expect(live).toMatchObject([{ enclave: statement.enclave.toLowerCase(), measurement, isDevelopment: true }])
})

function pcr(index: number): Uint8Array {
  return PCRS.get(index) ?? new Uint8Array(48)
}

async function depositBond(): Promise<void> {
  const { token, registry } = deployment
  const amount = BOND_UNITS * 10n ** 12n
  const contract = { address: token, abi: testOPGAbi } as const
  for (const send of [
    () => wallet.writeContract({ ...contract, functionName: 'mint', args: [account.address, amount] }),
    () => wallet.writeContract({ ...contract, functionName: 'approve', args: [registry, amount] }),
    () =>
      wallet.writeContract({
        address: registry,
        abi: enclaveRegistryAbi,
        functionName: 'depositBond',
        args: [account.address, BOND_UNITS],
      }),
  ] satisfies (() => Promise<Hex>)[]) {
    await client.waitForTransactionReceipt({ hash: await send() })
  }
}
