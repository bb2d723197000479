/** The chain of a network whose parts are killed: contracts, bonds enough for every enclave that is started again, a buyer, and a keyset's keys in a file. @module */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import type { Deployment } from '#chain/deployment.ts'
import { loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { generateKeyset, type SecretKeyset, writeKeysetFile } from '../../offchain/issuer/keysetKeys.ts'
import {
  approveRole,
  chainArguments,
  compileContracts,
  deployContracts,
  depositBond,
  grant,
  type LocalWallet,
} from '../../scripts/local/contracts.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { type Processes, waitFor } from '../../scripts/local/processes.ts'

const ACCOUNTS = { deployer: 0, operator: 1, aggregator: 2, protocol: 3, buyer: 4, issuer: 5, recipient: 6 } as const
export type AccountName = keyof typeof ACCOUNTS
const BOND_UNITS = 2_000_000_000_000n
const BUYER_UNITS = 1_000_000_000n
const DAY = 86_400

export type FaultChain = {
  readonly rpcUrl: string
  readonly client: PublicClient
  readonly deployment: Deployment
  /** Of the development attester. */
  readonly rootFile: string
  readonly keyset: SecretKeyset
  /** With its secret keys. */
  readonly keysetFile: string
  wallet(name: AccountName): LocalWallet
  addressOf(name: AccountName): Hex
  /** File of an account's private key. */
  keyFile(name: AccountName): string
}

/** Starts it on this port. Throws `StartError`. */
export async function startChain(folder: string, processes: Processes, port: number): Promise<FaultChain> {
  const host = '127.0.0.1'
  const rpcUrl = `http://${host}:${port}`
  const account = (name: AccountName) => mnemonicToAccount(DEVELOPMENT_MNEMONIC, { addressIndex: ACCOUNTS[name] })
  const chain = { ...hardhat, rpcUrls: { default: { http: [rpcUrl] } } }
  const transport = http(rpcUrl)
  const client = createPublicClient({ chain, transport, pollingInterval: 100 }) as PublicClient
  const wallet = (name: AccountName): LocalWallet => createWalletClient({ chain, transport, account: account(name) })
  compileContracts()
  processes.start('chain', process.execPath, chainArguments(host, port))
  await waitFor('the chain', async () => (await client.getChainId()) === hardhat.id, 60_000)
  const rootFile = join(folder, 'development-root.json')
  loadDevelopmentRoot(rootFile, Math.floor(Date.now() / 1000))
  const deployment = deployContracts(rpcUrl, join(folder, 'deployment.json'), rootFile, account('protocol').address)
  for (const role of ['gateway', 'issuer'] as const) await approveRole(client, wallet('deployer'), deployment, role)
  for (const name of ['operator', 'issuer'] as const) await depositBond(client, wallet(name), deployment, BOND_UNITS)
  await grant(client, wallet('buyer'), deployment.token, deployment.vault, BUYER_UNITS)
  const now = Math.floor(Date.now() / 1000)
  const times = { signUntil: now + DAY, spendUntil: now + 2 * DAY, exitUntil: now + 400 * DAY }
  const keyset = generateKeyset(deployment, times)
  const keysetFile = join(folder, 'keyset.json')
  writeKeysetFile(keysetFile, keyset)
  return {
    rpcUrl,
    client,
    deployment,
    rootFile,
    keyset,
    keysetFile,
    wallet,
    addressOf: (name) => account(name).address,
    keyFile(name) {
      const path = join(folder, `${name}.key`)
      writeFileSync(path, toHex(account(name).getHdKey().privateKey ?? new Uint8Array()), { mode: 0o600 })
      return path
    },
  }
}
