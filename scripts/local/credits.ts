/** Credits on the local network: the keyset is opened, and somebody with test tokens buys. @module */
import type { PublicClient } from 'viem'
import type { Deployment } from '#chain/deployment.ts'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { advanceKeyset } from '#chain/timelock.ts'
import { openVault, readKeysets, type VaultKeyset } from '#chain/vault.ts'
import type { Hex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { AgentKeysetsSchema } from '#protocol/wire/handoverApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { findIssuers } from '../../offchain/sdk/gateway.ts'
import { accessIssuer, type IssuerAccess } from '../../offchain/sdk/wallet/issuerAccess.ts'
import { Wallet, type WalletStore } from '../../offchain/sdk/wallet/wallet.ts'
import { grant, type LocalWallet, mined } from './contracts.ts'
import { StartError, waitFor } from './processes.ts'

/** Opens the keyset that an issuer made in its enclave, as the vault's owner would, with the issuer as its writer. Answers it as the vault has it. */
export async function openIssuersKeyset(
  client: PublicClient,
  wallet: LocalWallet,
  deployment: Deployment,
  issuerAgentUrl: string,
  writer: Hex,
): Promise<VaultKeyset> {
  const text = await (await fetch(`${issuerAgentUrl}/agent/keysets`)).text()
  const [made] = parseJson(AgentKeysetsSchema, text, "the issuer's keysets").keysets
  if (made === undefined) throw new StartError('the issuer has made no keyset')
  const { keyset: id, keys, ...times } = made
  const { state } = await advanceKeyset({ client, wallet, ...deployment }, { id, keys, times, writer })
  if (state !== 'done') throw new StartError('the timelock of a local chain must not wait')
  const opened = (await readKeysets(await openVault(client, deployment.registry))).find((keyset) => keyset.id === id)
  if (opened === undefined) throw new StartError('the vault does not know the keyset')
  return opened
}

export type BuyOptions = {
  readonly client: PublicClient
  /** Who deposits. Is given the test tokens it needs. */
  readonly buyer: LocalWallet
  readonly deployment: Deployment
  readonly relayUrl: string
  readonly keyset: Pick<VaultKeyset, 'id' | 'keyset'>
  /** 32 bytes. */
  readonly seed: Uint8Array
  /** The smallest there is, if not given: 1 OPG. */
  readonly units?: bigint
  readonly store?: WalletStore
  /** Told of the deposit, with the gas of its transaction. */
  readonly onDeposit?: (units: bigint, gasUsed: bigint) => void
}

export type Bought = { readonly wallet: Wallet; readonly access: IssuerAccess }

/** A wallet with the credits of one deposit. Throws `StartError`, `SealpathError`. */
export async function buyCredits(options: BuyOptions): Promise<Bought> {
  const { client, buyer, deployment, keyset } = options
  const units = options.units ?? DEPOSIT_SIZES[0]
  const size = DEPOSIT_SIZES.indexOf(units ?? 0n)
  if (units === undefined || size < 0) throw new StartError(`a deposit is one of ${DEPOSIT_SIZES.join(', ')} units`)
  const wallet = await Wallet.open({
    seed: options.seed,
    keyset: keyset.keyset,
    store: options.store ?? createMemoryStore(),
  })
  const purchase = await wallet.startPurchase(units)
  await grant(client, buyer, deployment.token, deployment.vault, units)
  const hash = await buyer.writeContract({
    address: deployment.vault,
    abi: creditVaultAbi,
    functionName: 'deposit',
    args: [keyset.id, size, purchase.claimKey],
  })
  const gasUsed = await mined(client, hash, 'the deposit')
  options.onDeposit?.(units, gasUsed)
  const access = await accessFirstIssuer(options)
  await waitFor('the deposit at finality', async () => (await access.issue(purchase)).length > 0, 30_000)
  await wallet.finishPurchase(purchase.number, await access.issue(purchase))
  return { wallet, access }
}

async function accessFirstIssuer({ client, deployment, relayUrl, keyset }: BuyOptions): Promise<IssuerAccess> {
  const { chainId, registry, settlement, vault } = deployment
  const now = BigInt(Math.floor(Date.now() / 1000))
  const [issuer] = await findIssuers({ client, chainId, registry, settlement, relayUrl }, {}, now)
  if (issuer === undefined) throw new StartError('there is no issuer behind the relay')
  return accessIssuer({ suites: createWebSuites(), issuer, chainId, vault, keyset: keyset.id, timeoutMs: 15_000 })
}

/** Keeps a wallet as long as the process lives. */
export function createMemoryStore(): WalletStore {
  let state: Awaited<ReturnType<WalletStore['load']>>
  return {
    load: async () => state,
    async save(next) {
      state = next
    },
  }
}
