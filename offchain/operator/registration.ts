/** Registers the enclave and keeps its evidence fresh. @module */
import {
  type Account,
  BaseError,
  type Chain,
  ContractFunctionRevertedError,
  createPublicClient,
  createWalletClient,
  defineChain,
  http,
  type PublicClient,
  type Transport,
  type Hex as ViemHex,
  type WalletClient,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { readEnclaveState } from '#chain/registry.ts'
import { AppError } from '#node/appError.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { AgentStatus } from '#protocol/wire/agentApi.ts'
import { appraise, type GatewayAgent } from './peers.ts'

export type RegistryAccess = {
  readonly client: PublicClient
  readonly wallet: WalletClient<Transport, Chain, Account>
  readonly registry: Hex
}

/** Connects to the chain as the operator. Throws `AppError` (`RPC_FAILED`). */
export async function connectRegistry(rpcUrl: string, registry: Hex, privateKey: Hex): Promise<RegistryAccess> {
  const probe = createPublicClient({ transport: http(rpcUrl) })
  let chainId: number
  try {
    chainId = await probe.getChainId()
  } catch (cause) {
    throw new AppError('RPC_FAILED', `no answer from the RPC endpoint ${new URL(rpcUrl).host}`, {
      cause,
      retryable: true,
    })
  }
  const chain = defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'native', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  })
  const options = { chain, transport: http(rpcUrl), pollingInterval: 200 }
  return {
    client: createPublicClient(options) as PublicClient,
    wallet: createWalletClient({ ...options, account: privateKeyToAccount(privateKey) }),
    registry,
  }
}

export type Registered = { readonly enclave: Hex; readonly transaction: Hex; readonly gasUsed: bigint }

/**
 * Makes fresh evidence over the newest finalised block's hash, has it verified, and registers or renews the enclave. Throws `AppError`
 * (`PEER_FAILED`, `RPC_FAILED`; `NOT_REGISTERED` with the registry's reason).
 */
export async function registerEnclave(
  access: RegistryAccess,
  gateway: GatewayAgent,
  verifierUrl: string,
): Promise<Registered> {
  const status = await gateway.status()
  const document = await renewEvidence(access, gateway)
  const hints = await appraise(verifierUrl, document)
  const { statement } = status
  try {
    const { request } = await access.client.simulateContract({
      address: access.registry,
      abi: enclaveRegistryAbi,
      functionName: 'register',
      args: [registryStatement(status), toHex(document), hints, status.possession],
      account: access.wallet.account,
    })
    const transaction = await access.wallet.writeContract(request)
    const receipt = await access.client.waitForTransactionReceipt({ hash: transaction, timeout: 120_000 })
    if (receipt.status !== 'success') throw new AppError('NOT_REGISTERED', 'the registration was reverted')
    return { enclave: statement.enclave, transaction: transaction as ViemHex, gasUsed: receipt.gasUsed }
  } catch (cause) {
    throw asAppError(cause)
  }
}

/** Makes fresh evidence that everybody gets from now on, over the newest finalised block's hash. */
export async function renewEvidence(access: RegistryAccess, gateway: GatewayAgent): Promise<Uint8Array> {
  let hash: Hex
  try {
    hash = (await access.client.getBlock({ blockTag: 'finalized' })).hash
  } catch (cause) {
    throw asAppError(cause)
  }
  return gateway.renewEvidence(hash)
}

/** Whether the registry knows the enclave as active. */
export async function isActive(access: RegistryAccess, enclave: Hex): Promise<boolean> {
  return (await readEnclaveState(access.client, access.registry, enclave)) === 'active'
}

function registryStatement({ statement }: AgentStatus): {
  role: number
  enclave: Hex
  keyConfigs: Hex
  operator: Hex
} {
  const { enclave, keyConfigs, operator, role } = statement
  return { role: ENCLAVE_ROLE[role], enclave, keyConfigs, operator }
}

function asAppError(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const revert = cause instanceof BaseError && cause.walk((inner) => inner instanceof ContractFunctionRevertedError)
  if (revert instanceof ContractFunctionRevertedError) {
    const reason = revert.data?.errorName ?? revert.reason ?? revert.signature ?? 'no reason'
    return new AppError('NOT_REGISTERED', `the registry refused the enclave: ${reason}`, { cause })
  }
  return new AppError('RPC_FAILED', 'the chain did not take the registration', { cause, retryable: true })
}
