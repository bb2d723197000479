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
import { enclaveRegistryAbi, nitroVerifierAbi } from '#chain/generated/abis.ts'
import { readEnclaveStanding } from '#chain/registry.ts'
import { AppError } from '#node/appError.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { AgentStatus } from '#protocol/wire/agentApi.ts'
import type { EnclaveAgent } from './peers.ts'

/** The registry's interface with the errors of its verifier, which it passes on. */
const REGISTRATION_ABI = [...enclaveRegistryAbi, ...nitroVerifierAbi.filter((entry) => entry.type === 'error')] as const

type OperatorWallet = WalletClient<Transport, Chain, Account>

export type RegistryAccess = {
  readonly client: PublicClient
  /** Its transactions leave one after another, whoever sends them. */
  readonly wallet: OperatorWallet
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
    wallet: sendingInTurn(createWalletClient({ ...options, account: privateKeyToAccount(privateKey) })),
    registry,
  }
}

/** Two transactions that are made at once ask the node for a nonce at once, and get the same. They are sent in turn; none waits until another is mined. */
function sendingInTurn(wallet: OperatorWallet): OperatorWallet {
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <Sent>(send: () => Promise<Sent>): Promise<Sent> => {
    const sent = last.then(send)
    last = sent.catch(() => undefined)
    return sent
  }
  const sendTransaction = (call: never) => inTurn(() => wallet.sendTransaction(call))
  const writeContract = (call: never) => inTurn(() => wallet.writeContract(call))
  return { ...wallet, sendTransaction, writeContract } as OperatorWallet
}

export type Registered = { readonly enclave: Hex; readonly transaction: Hex; readonly gasUsed: bigint }

/**
 * Makes fresh evidence over the newest finalized block's hash, and registers or renews the enclave with it: the chain verifies the document
 * itself, with hints that are made here. Throws `AppError` (`PEER_FAILED`, `RPC_FAILED`; `NOT_REGISTERED` with the chain's reason).
 */
export async function registerEnclave(access: RegistryAccess, enclave: EnclaveAgent): Promise<Registered> {
  const status = await enclave.status()
  const document = await renewEvidence(access, enclave)
  const { statement } = status
  try {
    const hints = makeNitroHints(document, await readCached(access, document))
    const { request } = await access.client.simulateContract({
      address: access.registry,
      abi: REGISTRATION_ABI,
      functionName: 'register',
      args: [registryStatement(status), toHex(document), toHex(hints), status.possession],
      account: access.wallet.account,
      // The latest block may be older than the document's certificates.
      blockTag: 'pending',
    })
    const transaction = await access.wallet.writeContract(request)
    const receipt = await access.client.waitForTransactionReceipt({ hash: transaction, timeout: 120_000 })
    if (receipt.status !== 'success') throw new AppError('NOT_REGISTERED', 'the registration was reverted')
    return { enclave: statement.enclave, transaction: transaction as ViemHex, gasUsed: receipt.gasUsed }
  } catch (cause) {
    throw asAppError(cause)
  }
}

/** Which of the document's CA certificates the chain has verified before: they need no hints. */
async function readCached({ client, registry }: RegistryAccess, document: Uint8Array): Promise<boolean[]> {
  const verifier = await client.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'VERIFIER' })
  const isCached = (id: Hex) =>
    client.readContract({ address: verifier, abi: nitroVerifierAbi, functionName: 'isCached', args: [id] })
  return Promise.all(authorityIds(document).map(isCached))
}

/** Makes fresh evidence that everybody gets from now on, over the newest finalized block's hash. */
export async function renewEvidence(access: RegistryAccess, enclave: EnclaveAgent): Promise<Uint8Array> {
  let hash: Hex
  try {
    hash = (await access.client.getBlock({ blockTag: 'finalized' })).hash
  } catch (cause) {
    throw asAppError(cause)
  }
  return enclave.renewEvidence(hash)
}

/** Until when the registry knows the enclave as active, in seconds; 0 when it does not. */
export async function activeUntil(access: RegistryAccess, enclave: Hex): Promise<number> {
  try {
    const { state, endsAt } = await readEnclaveStanding(access.client, access.registry, enclave)
    return state === 'active' ? Number(endsAt) : 0
  } catch (cause) {
    throw asAppError(cause)
  }
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

export function asAppError(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const revert = cause instanceof BaseError && cause.walk((inner) => inner instanceof ContractFunctionRevertedError)
  if (revert instanceof ContractFunctionRevertedError) {
    const { data, reason: text, signature } = revert
    const reason =
      data === undefined ? (text ?? signature ?? 'no reason') : `${data.errorName}(${data.args?.join(', ') ?? ''})`
    return new AppError('NOT_REGISTERED', `the registry refused the enclave: ${reason}`, { cause })
  }
  return new AppError('RPC_FAILED', 'the chain did not take the registration', { cause, retryable: true })
}
