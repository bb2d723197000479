/** What the aggregator reads from the chain and sends to it, on viem. Signs locally; nonces and fees are the caller's. @module */
import {
  BaseError,
  BlockNotFoundError,
  createPublicClient,
  ExecutionRevertedError,
  encodeFunctionData,
  getAbiItem,
  getAddress,
  http,
  type PublicClient,
  TransactionNotFoundError,
  type TransactionReceipt,
  TransactionReceiptNotFoundError,
  zeroAddress,
} from 'viem'
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { ENCLAVE_STATES, type EnclaveState } from '#chain/registry.ts'
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { SettlementDomain } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import type { AggregatorDeployment } from './config.ts'
import { signedHeadArgument } from './evidence.ts'
import type { Standing } from './standing.ts'
import type { Fees } from './step.ts'

export type BlockId = { readonly number: bigint; readonly hash: Hex }

/** What the node said to raw bytes. `usedNonce`: the receipts will tell by what; `failed`: for a reason that passes. */
export type SendOutcome = 'taken' | 'known' | 'usedNonce' | 'underpriced' | 'failed'

export type SettlementChain = {
  readonly account: Hex
  /** What heads and clearings are signed for. */
  readonly domain: SettlementDomain
  /** Names chain and contract for good, so that a database is never used with another. */
  identity(): Promise<string>
  standingOf(enclave: Hex): Promise<Standing>
  /** The enclave whose clearings of this keyset count; `undefined` while the vault knows none. */
  writerOf(keyset: Hex): Promise<Hex | undefined>
  isCompromised(enclave: Hex): Promise<boolean>
  /** When the settler that an operator named loses its exclusive time, in seconds since the epoch. */
  exclusiveUntil(enclave: Hex): Promise<bigint>
  /** `undefined` for a block beyond the newest, or a tag the node does not know. */
  readBlock(block: bigint | 'latest' | 'safe' | 'finalized'): Promise<BlockId | undefined>
  /** Hashes of the transactions that settled heads or clearings in blocks `from` to `to`, both inclusive, in their order. */
  readSettleTransactions(from: bigint, to: bigint): Promise<readonly Hex[]>
  readReceipt(hash: Hex): Promise<TransactionReceipt | undefined>
  isKnown(hash: Hex): Promise<boolean>
  /** Transactions of the account that are included. */
  readNonce(): Promise<number>
  suggestFees(): Promise<Fees>
  /** Gas that a call to the settlement contract needs; `undefined` when it would revert. */
  estimateGas(calldata: Hex): Promise<bigint | undefined>
  sign(call: { nonce: number; calldata: Hex; gas: bigint; fees: Fees }): Promise<Hex>
  send(raw: Hex): Promise<SendOutcome>
}

/** Connects as the account of `privateKey`. Checks that the endpoint is on the deployment's chain: throws `AppError` (`RPC_FAILED`, `BAD_CONFIG`). */
export async function connectSettlement(
  rpcUrl: string,
  deployment: AggregatorDeployment,
  privateKey: Hex,
): Promise<SettlementChain> {
  const client: PublicClient = createPublicClient({ transport: http(rpcUrl), cacheTime: 0 })
  let chainId: number
  try {
    chainId = await client.getChainId()
  } catch (cause) {
    const message = `no answer from the RPC endpoint ${new URL(rpcUrl).host}`
    throw new AppError('RPC_FAILED', message, { cause, retryable: true })
  }
  if (chainId !== deployment.chainId) {
    throw new AppError('BAD_CONFIG', `the RPC endpoint is on chain ${chainId}, the deployment on ${deployment.chainId}`)
  }
  return createSettlementChain(client, deployment, privateKeyToAccount(privateKey))
}

function createSettlementChain(
  client: PublicClient,
  { chainId, registry, settlement }: AggregatorDeployment,
  account: PrivateKeyAccount,
): SettlementChain {
  const registryContract = { address: registry, abi: enclaveRegistryAbi } as const
  const settlementContract = { address: settlement, abi: receiptSettlementAbi } as const
  return {
    account: account.address.toLowerCase() as Hex,
    domain: { chainId, settlement },
    async identity() {
      const genesis = await client.getBlock({ blockNumber: 0n })
      return `${chainId} ${genesis.hash} ${settlement}`
    },
    async standingOf(enclave) {
      const args = [getAddress(enclave)] as const
      const [state, role] = await client.readContract({ ...registryContract, functionName: 'standingOf', args })
      return standingOf(ENCLAVE_STATES[state] ?? 'none', role)
    },
    async writerOf(keyset) {
      const vault = await client.readContract({ ...settlementContract, functionName: 'VAULT' })
      const { writer } = await client.readContract({
        address: vault,
        abi: creditVaultAbi,
        functionName: 'keysetOf',
        args: [keyset],
      })
      return writer === zeroAddress ? undefined : (writer.toLowerCase() as Hex)
    },
    async isCompromised(enclave) {
      const args = [getAddress(enclave)] as const
      const state = await client.readContract({ ...registryContract, functionName: 'stateOf', args })
      return ENCLAVE_STATES[state] === 'compromised'
    },
    async exclusiveUntil(enclave) {
      const args = [getAddress(enclave)] as const
      const terms = await client.readContract({ ...settlementContract, functionName: 'settlerTermsOf', args })
      return BigInt(terms.lastPaidAt) + BigInt(terms.exclusiveSeconds)
    },
    async readBlock(block) {
      try {
        const { number, hash } = await client.getBlock(
          typeof block === 'bigint' ? { blockNumber: block } : { blockTag: block },
        )
        return number === null || hash === null ? undefined : { number, hash }
      } catch (error) {
        if (error instanceof BlockNotFoundError) return undefined
        throw error
      }
    },
    async readSettleTransactions(fromBlock, toBlock) {
      const logs = await client.getLogs({
        address: settlement,
        events: SETTLED_EVENTS,
        fromBlock,
        toBlock,
        strict: true,
      })
      return [...new Set(logs.map(({ transactionHash }) => transactionHash))]
    },
    readReceipt: (hash) => unlessMissing(client.getTransactionReceipt({ hash }), TransactionReceiptNotFoundError),
    isKnown: async (hash) =>
      (await unlessMissing(client.getTransaction({ hash }), TransactionNotFoundError)) !== undefined,
    readNonce: () => client.getTransactionCount({ address: account.address, blockTag: 'latest' }),
    async suggestFees() {
      const [block, tip] = await Promise.all([
        client.getBlock({ blockTag: 'latest' }),
        client.estimateMaxPriorityFeePerGas(),
      ])
      // Twice the base fee outlasts six full blocks in a row (EIP-1559: 12.5 % each).
      return { maxFeePerGas: 2n * (block.baseFeePerGas ?? 0n) + tip, maxPriorityFeePerGas: tip }
    },
    async estimateGas(data) {
      try {
        return await client.estimateGas({ account: account.address, to: settlement, data })
      } catch (error) {
        if (error instanceof BaseError && error.walk((inner) => inner instanceof ExecutionRevertedError))
          return undefined
        throw error
      }
    },
    sign: ({ nonce, calldata, gas, fees }) =>
      account.signTransaction({ chainId, type: 'eip1559', to: settlement, data: calldata, nonce, gas, ...fees }),
    send: (serializedTransaction) => send(client, serializedTransaction),
  }
}

/** Calldata that settles `clearings` and then `heads`, each in their order. */
export function settleCalldata(heads: readonly EarningsHeadMessage[], clearings: readonly SignedClearing[] = []): Hex {
  return encodeFunctionData({
    abi: receiptSettlementAbi,
    functionName: 'settle',
    args: [heads.map(signedHeadArgument), clearings],
  })
}

const SETTLED_EVENTS = [
  getAbiItem({ abi: receiptSettlementAbi, name: 'BatchSettled' }),
  getAbiItem({ abi: receiptSettlementAbi, name: 'ClearingSettled' }),
] as const

async function send(client: PublicClient, serializedTransaction: Hex): Promise<SendOutcome> {
  try {
    await client.sendRawTransaction({ serializedTransaction })
    return 'taken'
  } catch (error) {
    return outcomeOf(error instanceof BaseError ? `${error.details} ${error.message}` : String(error))
  }
}

/** Nodes have no codes for these, only sentences: go-ethereum's, and those of others that users met. */
export function outcomeOf(message: string): SendOutcome {
  if (/already known|already imported|known transaction|already exists/i.test(message)) return 'known'
  if (/nonce (?:is )?too low|nonce has already been used|invalid nonce.*lower/i.test(message)) return 'usedNonce'
  if (/underpriced|fee too low|less than block base fee|max fee per gas.*(?:too low|lower)/i.test(message)) {
    return 'underpriced'
  }
  return 'failed'
}

const LOG_ROLES = ['gateway', 'issuer'] as const

function standingOf(state: EnclaveState, role: number): Standing {
  const known = LOG_ROLES.find((name) => ENCLAVE_ROLE[name] === role)
  if (known === undefined || state === 'none') return 'unknown'
  return state === 'active' || state === 'retired' ? known : 'ended'
}

async function unlessMissing<T>(
  read: Promise<T>,
  missing: typeof TransactionReceiptNotFoundError | typeof TransactionNotFoundError,
): Promise<T | undefined> {
  try {
    return await read
  } catch (error) {
    if (error instanceof missing) return undefined
    throw error
  }
}
