/**
 * What the aggregator reads from the chain and sends to it, on viem, over one endpoint or several (endpoints.ts). Signs locally; nonces and fees
 * are the caller's.
 * @module
 */
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
  parseAbi,
  TransactionNotFoundError,
  type TransactionReceipt,
  TransactionReceiptNotFoundError,
  zeroAddress,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { ENCLAVE_STATES, type EnclaveState } from '#chain/registry.ts'
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { SettlementDomain } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import type { SettleCall } from './callPlan.ts'
import type { AggregatorDeployment } from './config.ts'
import { Endpoints, lowerMedian, reachedBy, upperMedian } from './endpoints.ts'
import { signedHeadArgument } from './evidence.ts'
import { bestOutcome, outcomeOf, type SendOutcome } from './sendOutcome.ts'
import { readSettlerFee } from './settlerLedger.ts'
import type { Standing } from './standing.ts'
import type { Fees } from './step.ts'

/** `parent` is the hash of the block before. */
export type BlockId = { readonly number: bigint; readonly hash: Hex; readonly parent: Hex }

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
  /** The same of one block. Throws when an endpoint does not have it. */
  readSettleTransactionsOf(blockHash: Hex): Promise<readonly Hex[]>
  readReceipt(hash: Hex): Promise<TransactionReceipt | undefined>
  isKnown(hash: Hex): Promise<boolean>
  /** Transactions of the account that are included. */
  readNonce(): Promise<number>
  suggestFees(): Promise<Fees>
  /** What a call pays the account, in units of OPG, if it is the next one. */
  settlerFeeOf(call: SettleCall): Promise<bigint>
  /** What a call costs at most at these fees, in wei: its gas, and what the chain takes for publishing its bytes. */
  costOf(calldata: Hex, gas: bigint, fees: Fees): Promise<bigint>
  /** Gas that a call to the settlement contract needs; `undefined` when it would revert. */
  estimateGas(calldata: Hex): Promise<bigint | undefined>
  sign(call: { nonce: number; calldata: Hex; gas: bigint; fees: Fees }): Promise<Hex>
  send(raw: Hex): Promise<SendOutcome>
}

export type ChainOptions = {
  readonly deployment: AggregatorDeployment
  /** One or more, of different providers where there are several. */
  readonly rpcUrls: readonly string[]
  /** How many of them must say the same; two by default, where there are two. */
  readonly rpcQuorum?: number | undefined
  /** Contract that tells the price of publishing bytes, on chains that take one (OP stack: GasPriceOracle). */
  readonly dataFeeOracle?: Hex | undefined
}

const RPC_TIMEOUT_MS = 5_000
/** Providers bound how many calls come in one request. */
const RPC_BATCH_MAX = 50

/**
 * The endpoints, once a quorum of them answered. Throws `AppError`: `RPC_FAILED` when too few do, `BAD_CONFIG` for one on another chain than the
 * deployment, or a quorum of more than there are.
 */
export async function connectEndpoints({ deployment, rpcUrls, rpcQuorum }: ChainOptions): Promise<Endpoints> {
  const quorum = rpcQuorum ?? Math.min(2, rpcUrls.length)
  if (new Set(rpcUrls).size < quorum) {
    throw new AppError('BAD_CONFIG', `expected at least ${quorum} different RPC endpoints: so many must say the same`)
  }
  const transport = (url: string) =>
    http(url, { timeout: RPC_TIMEOUT_MS, retryCount: 1, batch: { batchSize: RPC_BATCH_MAX } })
  const clients: PublicClient[] = rpcUrls.map((url) => createPublicClient({ transport: transport(url), cacheTime: 0 }))
  const endpoints = new Endpoints(clients, quorum)
  for (const chainId of await endpoints.several((client) => client.getChainId())) {
    if (chainId === deployment.chainId) continue
    throw new AppError('BAD_CONFIG', `an RPC endpoint is on chain ${chainId}, the deployment on ${deployment.chainId}`)
  }
  return endpoints
}

/** The chain as the account of `privateKey` sees it. */
export function createSettlementChain(
  endpoints: Endpoints,
  { deployment, dataFeeOracle }: Pick<ChainOptions, 'deployment' | 'dataFeeOracle'>,
  privateKey: Hex,
): SettlementChain {
  const { chainId, registry, settlement } = deployment
  const account = privateKeyToAccount(privateKey)
  const registryContract = { address: registry, abi: enclaveRegistryAbi } as const
  const settlementContract = { address: settlement, abi: receiptSettlementAbi } as const
  const vaultOf = once(() =>
    endpoints.agreed((client) => client.readContract({ ...settlementContract, functionName: 'VAULT' })),
  )
  return {
    account: account.address.toLowerCase() as Hex,
    domain: { chainId, settlement },
    async identity() {
      const genesis = await endpoints.agreed(async (client) => (await client.getBlock({ blockNumber: 0n })).hash)
      return `${chainId} ${genesis} ${settlement}`
    },
    async standingOf(enclave) {
      const args = [getAddress(enclave)] as const
      const [state, role] = await endpoints.agreed((client) =>
        client.readContract({ ...registryContract, functionName: 'standingOf', args }),
      )
      return standingOf(ENCLAVE_STATES[state] ?? 'none', role)
    },
    async writerOf(keyset) {
      const vault = await vaultOf()
      const writer = await endpoints.agreed(async (client) => {
        const contract = { address: vault, abi: creditVaultAbi } as const
        return (await client.readContract({ ...contract, functionName: 'keysetOf', args: [keyset] })).writer
      })
      return writer === zeroAddress ? undefined : (writer.toLowerCase() as Hex)
    },
    async isCompromised(enclave) {
      const args = [getAddress(enclave)] as const
      const state = await endpoints.agreed((client) =>
        client.readContract({ ...registryContract, functionName: 'stateOf', args }),
      )
      return ENCLAVE_STATES[state] === 'compromised'
    },
    async exclusiveUntil(enclave) {
      const args = [getAddress(enclave)] as const
      const terms = await endpoints.agreed((client) =>
        client.readContract({ ...settlementContract, functionName: 'settlerTermsOf', args }),
      )
      return BigInt(terms.lastPaidAt) + BigInt(terms.exclusiveSeconds)
    },
    async readBlock(block) {
      if (typeof block === 'bigint') return endpoints.agreed((client) => readBlock(client, block))
      if (endpoints.quorum === 1) return endpoints.first((client) => readBlock(client, block))
      const heights = await endpoints.several(async (client) => (await readBlock(client, block))?.number)
      const height = reachedBy(
        endpoints.quorum,
        heights.filter((number) => number !== undefined),
      )
      return height === undefined ? undefined : endpoints.agreed((client) => readBlock(client, height))
    },
    readSettleTransactions: (fromBlock, toBlock) =>
      endpoints.agreed((client) => readSettleTransactions(client, settlement, { fromBlock, toBlock })),
    readSettleTransactionsOf: (blockHash) =>
      endpoints.agreed((client) => readSettleTransactions(client, settlement, { blockHash })),
    readReceipt: (hash) =>
      endpoints.agreed(
        (client) => unlessMissing(client.getTransactionReceipt({ hash }), TransactionReceiptNotFoundError),
        receiptKey,
      ),
    isKnown: async (hash) =>
      (await endpoints.first((client) => unlessMissing(client.getTransaction({ hash }), TransactionNotFoundError))) !==
      undefined,
    async readNonce() {
      const counts = await endpoints.several(async (client) =>
        BigInt(await client.getTransactionCount({ address: account.address, blockTag: 'latest' })),
      )
      return Number(reachedBy(endpoints.quorum, counts) ?? 0n)
    },
    async suggestFees() {
      const suggestions = await endpoints.several(async (client) => {
        const [block, tip] = await Promise.all([
          client.getBlock({ blockTag: 'latest' }),
          client.estimateMaxPriorityFeePerGas(),
        ])
        return { base: block.baseFeePerGas ?? 0n, tip }
      })
      // What is above the base fee of the block is given back, a tip is not: of the one rather the larger, of the other rather the smaller.
      const base = upperMedian(suggestions.map((suggestion) => suggestion.base))
      const tip = lowerMedian(suggestions.map((suggestion) => suggestion.tip))
      // Twice the base fee outlasts six full blocks in a row (EIP-1559: 12.5 % each).
      return { maxFeePerGas: 2n * base + tip, maxPriorityFeePerGas: tip }
    },
    async estimateGas(data) {
      const estimates = await endpoints.several((client) => estimateGas(client, account.address, settlement, data))
      const numbers = estimates.filter((estimate) => estimate !== undefined)
      if (estimates.length - numbers.length >= endpoints.quorum || numbers.length === 0) return undefined
      return upperMedian(numbers)
    },
    settlerFeeOf: (call) => readSettlerFee(endpoints, settlement, account.address, call),
    async costOf(calldata, gas, { maxFeePerGas, maxPriorityFeePerGas: tip }) {
      // Half of what is offered above the tip is the newest block's base fee.
      const perGas = (maxFeePerGas - tip) / 2n + tip
      if (dataFeeOracle === undefined) return gas * perGas
      const fees = await endpoints.several((client) =>
        client.readContract({ address: dataFeeOracle, abi: DATA_FEE_ABI, functionName: 'getL1Fee', args: [calldata] }),
      )
      return gas * perGas + upperMedian(fees)
    },
    sign: ({ nonce, calldata, gas, fees }) =>
      account.signTransaction({ chainId, type: 'eip1559', to: settlement, data: calldata, nonce, gas, ...fees }),
    async send(serializedTransaction) {
      const outcomes: SendOutcome[] = []
      const good = await endpoints.first(async (client) => {
        const outcome = await send(client, serializedTransaction)
        outcomes.push(outcome)
        return outcome === 'taken' || outcome === 'known' ? outcome : undefined
      })
      return good ?? bestOutcome(outcomes)
    },
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

const DATA_FEE_ABI = parseAbi(['function getL1Fee(bytes data) view returns (uint256)'])

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

async function readSettleTransactions(
  client: PublicClient,
  settlement: Hex,
  blocks: { readonly fromBlock: bigint; readonly toBlock: bigint } | { readonly blockHash: Hex },
): Promise<Hex[]> {
  const logs = await client.getLogs({ address: settlement, events: SETTLED_EVENTS, strict: true, ...blocks })
  return [...new Set(logs.map(({ transactionHash }) => transactionHash))]
}

async function readBlock(
  client: PublicClient,
  block: bigint | 'latest' | 'safe' | 'finalized',
): Promise<BlockId | undefined> {
  try {
    const {
      number,
      hash,
      parentHash: parent,
    } = await client.getBlock(typeof block === 'bigint' ? { blockNumber: block } : { blockTag: block })
    return number === null || hash === null ? undefined : { number, hash, parent }
  } catch (error) {
    if (error instanceof BlockNotFoundError) return undefined
    throw error
  }
}

async function estimateGas(client: PublicClient, account: Hex, to: Hex, data: Hex): Promise<bigint | undefined> {
  try {
    return await client.estimateGas({ account, to, data })
  } catch (error) {
    if (error instanceof BaseError && error.walk((inner) => inner instanceof ExecutionRevertedError)) return undefined
    throw error
  }
}

/** What of a receipt all endpoints must tell alike. Nodes add fields of their own. */
function receiptKey(receipt: TransactionReceipt | undefined): string {
  if (receipt === undefined) return ''
  const { blockHash, status, gasUsed, logs } = receipt
  return toJson([blockHash, status, gasUsed, logs.map(({ address, topics, data }) => [address, topics, data])])
}

/** `read` once, and again after it failed. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined
  return () => {
    value ??= read().catch((error: unknown) => {
      value = undefined
      throw error
    })
    return value
  }
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
