/**
 * A local chain with the whole protocol on it, for tests that need one: a JSON-RPC port, deployed contracts, registered enclaves.
 * @module
 */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'
import { network } from 'hardhat'
import { createHardhatRuntimeEnvironment } from 'hardhat/hre'
import {
  type Account,
  type Chain,
  createTestClient,
  createWalletClient,
  encodeAbiParameters,
  http,
  type PublicClient,
  publicActions,
  type TestClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { type HDAccount, mnemonicToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import type { Deployment } from '#chain/deployment.ts'
import { enclaveRegistryAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { advanceApproval } from '#chain/timelock.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE, type EnclaveRole, hashStatement } from '#protocol/evidence/statement.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'
import SealpathModule from '../../scripts/ignition/modules/Sealpath.ts'
import TestTokenModule from '../../scripts/ignition/modules/TestToken.ts'
import chainConfig from '../../scripts/local/chain.config.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { startAnvil } from './anvil.ts'

const TestVerifierModule = buildModule('TestVerifier', (m) => ({ verifier: m.contract('TestVerifier') }))

/** Accounts by use: index in the mnemonic's derivation. */
const ACCOUNTS = { deployer: 0, operator: 2, settler: 3, protocol: 4, stranger: 5 } as const
/** Reference values that every test enclave is measured as. */
export const TEST_MEASUREMENT: Hex = `0x${'4d'.repeat(32)}`
/** Bond of every test enclave. */
export const TEST_BOND_UNITS = 1_000n

export type TestAccount = keyof typeof ACCOUNTS

export type LocalChain = {
  readonly rpcUrl: string
  readonly addresses: Deployment
  readonly client: PublicClient
  /** Mines, takes snapshots, drops transactions. */
  readonly control: TestClient<'hardhat', Transport, Chain>
  account(name: TestAccount): HDAccount
  /** Private key of an account, hex. */
  keyOf(name: TestAccount): Hex
  wallet(name: TestAccount): WalletClient<Transport, Chain, Account>
  close(): Promise<void>
}

export type TestNode = 'hardhat' | 'anvil'

/**
 * Starts a chain of its own on a free port and deploys everything on it, with no delays and development evidence allowed. Its clock starts
 * at `initialDate` (ISO 8601), now unless told. The node is Hardhat's unless told.
 */
export async function deployLocal(
  options: { readonly initialDate?: string; readonly node?: TestNode } = {},
): Promise<LocalChain> {
  // Told to Hardhat in any case: left alone it starts each chain's clock when the process began, however long ago that is.
  const initialDate = options.initialDate ?? new Date().toISOString()
  const server = options.node === 'anvil' ? await serveAnvil(initialDate) : await serveHardhat(initialDate)
  const { rpcUrl } = server
  const connection = await network.create({ network: 'localhost', override: { url: rpcUrl } })
  const account = (name: TestAccount) => mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: ACCOUNTS[name] })
  try {
    const transport = http(rpcUrl)
    const options = { chain: hardhat, transport, pollingInterval: 50, cacheTime: 0 }
    const control = createTestClient({ ...options, mode: 'hardhat' })
    const client = control.extend(publicActions) as unknown as PublicClient
    const addresses = await deployContracts(connection, account)
    return {
      rpcUrl,
      addresses,
      client,
      control,
      account,
      keyOf: (name) => toHex(account(name).getHdKey().privateKey ?? new Uint8Array()),
      wallet: (name) => createWalletClient({ ...options, account: account(name) }),
      async close() {
        await connection.close()
        await server.close()
      },
    }
  } catch (error) {
    await connection.close()
    await server.close()
    throw error
  }
}

type NodeServer = { readonly rpcUrl: string; close(): Promise<void> }

async function serveHardhat(initialDate: string): Promise<NodeServer> {
  const { network } = await createHardhatRuntimeEnvironment(chainConfig)
  const server = await network.createServer({ network: 'default', override: { initialDate } }, '127.0.0.1')
  const { port } = await server.listen()
  return { rpcUrl: `http://127.0.0.1:${port}`, close: () => server.close() }
}

function serveAnvil(initialDate: string): Promise<NodeServer> {
  return startAnvil(Math.floor(Date.parse(initialDate) / 1_000))
}

async function deployContracts(
  { ignition }: Awaited<ReturnType<typeof network.create>>,
  account: (name: TestAccount) => Account,
): Promise<Deployment> {
  // Ignition keeps a journal per chain and would take this new chain for one it has deployed to before: each gets its own, and no more.
  const deploymentId = `test-${randomUUID()}`
  try {
    return await deployModules(ignition, deploymentId, account)
  } finally {
    rmSync(new URL(`../../scripts/ignition/deployments/${deploymentId}`, import.meta.url), {
      recursive: true,
      force: true,
    })
  }
}

async function deployModules(
  ignition: Awaited<ReturnType<typeof network.create>>['ignition'],
  deploymentId: string,
  account: (name: TestAccount) => Account,
): Promise<Deployment> {
  const { token } = await ignition.deploy(TestTokenModule, { deploymentId })
  const { verifier } = await ignition.deploy(TestVerifierModule, { deploymentId })
  const parameters = {
    verifier: addressOf(verifier),
    protocol: account('protocol').address,
    token: addressOf(token),
    proposer: account('deployer').address,
    guardian: account('deployer').address,
    gatewayBond: TEST_BOND_UNITS,
    issuerBond: TEST_BOND_UNITS,
    approvalDelay: 0,
    keyConfigsDelay: 0,
    allowsDevelopment: true,
    protocolBps: 500,
    settlerBps: 100,
    thawSeconds: 86_400,
  }
  const deployed = await ignition.deploy(SealpathModule, { deploymentId, parameters: { Sealpath: parameters } })
  return {
    chainId: hardhat.id,
    registry: addressOf(deployed.registry),
    settlement: addressOf(deployed.settlement),
    vault: addressOf(deployed.vault),
    token: addressOf(token),
    inference: addressOf(deployed.inference),
    bounty: addressOf(deployed.bounty),
    timelock: addressOf(deployed.timelock),
    verifier: addressOf(verifier),
    fromBlock: 0n,
  }
}

export type TestEnclave = { readonly enclave: Hex; readonly privateKey: Uint8Array; readonly operator: Hex }

/**
 * Registers an enclave whose key is `privateKey` (32 bytes) with an attestation result that TestVerifier answers. Approves
 * TEST_MEASUREMENT for its role first.
 */
export async function registerTestEnclave(
  chain: LocalChain,
  privateKey: Uint8Array,
  options: { readonly role?: EnclaveRole } = {},
): Promise<TestEnclave> {
  const { client, addresses } = chain
  const registry = { address: addresses.registry, abi: enclaveRegistryAbi } as const
  const statement = {
    role: options.role ?? ENCLAVE_ROLE.gateway,
    enclave: enclaveOfKey(privateKey),
    keyConfigs: `0x${'6b'.repeat(32)}` as Hex,
    operator: chain.account('operator').address,
  } as const
  const access = { client, wallet: chain.wallet('deployer'), ...addresses }
  await advanceApproval(access, { role: statement.role, measurement: TEST_MEASUREMENT })
  await depositBond(chain, statement.operator, TEST_BOND_UNITS)
  const digest = hashStatement(statement, addresses)
  const document: Hex = '0x01'
  const registration = await chain.wallet('operator').writeContract({
    ...registry,
    functionName: 'register',
    args: [statement, document, await resultHints(chain, digest), expandSignature(signDigest(digest, privateKey))],
  })
  await client.waitForTransactionReceipt({ hash: registration })
  return { enclave: statement.enclave.toLowerCase() as Hex, privateKey, operator: statement.operator }
}

const RESULT_FIELDS = [
  { name: 'measurement', type: 'bytes32' },
  { name: 'userData', type: 'bytes' },
  { name: 'issuedAt', type: 'uint64' },
  { name: 'validUntil', type: 'uint64' },
  { name: 'certificates', type: 'bytes32[]' },
  { name: 'development', type: 'bool' },
] as const

/** `hints` of TestVerifier: the attestation result it shall answer. */
async function resultHints(chain: LocalChain, userData: Hex): Promise<Hex> {
  const { timestamp } = await chain.client.getBlock()
  const result = {
    measurement: TEST_MEASUREMENT,
    userData,
    issuedAt: timestamp,
    validUntil: timestamp + 86_400n,
    certificates: [],
    development: true,
  }
  return encodeAbiParameters([{ type: 'tuple', components: RESULT_FIELDS }], [result])
}

/** Adds to what `operator` has put behind its enclaves, in the registry or another one. */
export async function depositBond(
  chain: LocalChain,
  operator: Hex,
  units: bigint,
  registry: Hex = chain.addresses.registry,
): Promise<void> {
  await grant(chain, registry, units)
  const args = [operator, units] as const
  const wallet = chain.wallet('deployer')
  const hash = await wallet.writeContract({
    address: registry,
    abi: enclaveRegistryAbi,
    functionName: 'depositBond',
    args,
  })
  await chain.client.waitForTransactionReceipt({ hash })
}

/** Mints the deployer test tokens and lets `spender` take them. */
async function grant(chain: LocalChain, spender: Hex, units: bigint): Promise<void> {
  const wallet = chain.wallet('deployer')
  const token = { address: chain.addresses.token, abi: testOPGAbi } as const
  const amount = units * BASE_UNITS_PER_UNIT
  const mint = await wallet.writeContract({ ...token, functionName: 'mint', args: [wallet.account.address, amount] })
  await chain.client.waitForTransactionReceipt({ hash: mint })
  const approval = await wallet.writeContract({ ...token, functionName: 'approve', args: [spender, amount] })
  await chain.client.waitForTransactionReceipt({ hash: approval })
}

function addressOf(contract: unknown): Hex {
  const { address } = contract as { address: Hex }
  return address.toLowerCase() as Hex
}
