/** `SettlementChain` on a simulated chain, as one process sees it through a node that may be late, silent or wrong. @module */
import { encodeEventTopics, keccak256, serializeTransaction } from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { signDigest } from '#node/signatures.ts'
import { smaller } from '#protocol/bigints.ts'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { type BlockId, type SettlementChain, settleCalldata } from '../../offchain/aggregator/chainAccess.ts'
import type { SendOutcome } from '../../offchain/aggregator/sendOutcome.ts'
import { type Block, type Chain, type IncludedTransaction, SUGGESTED_TIP } from './chain.ts'
import type { Faults, NodeCall } from './faults.ts'
import type { ProcessLife } from './processLife.ts'
import type { Scheduler } from './scheduler.ts'
import { copySettlementState } from './settlementModel.ts'

/** What everybody may see of the sending: raw bytes as they leave a process, and fees that nodes suggested. */
export type Wire = {
  readonly broadcasts: { readonly at: number; readonly raw: Hex }[]
  readonly suggestions: { readonly at: number; readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }[]
}

export type ChainPortParts = {
  readonly chain: Chain
  readonly life: ProcessLife
  readonly scheduler: Scheduler
  readonly faults: Faults
  readonly wire: Wire
  /** Names the process for its faults. */
  readonly process: string
}

/** So long nobody stays on a branch that lost. */
const FORMER_BLOCKS = 5n

type Receipt = NonNullable<Awaited<ReturnType<SettlementChain['readReceipt']>>>

const SETTLED_TOPICS: ReadonlySet<Hex | undefined> = new Set(
  (['BatchSettled', 'ClearingSettled'] as const).map(
    (eventName) => encodeEventTopics({ abi: receiptSettlementAbi, eventName })[0],
  ),
)

/** The port for the account of `privateKey` (32 bytes). */
export function createChainPort(parts: ChainPortParts, privateKey: Uint8Array): SettlementChain {
  const { chain, life, scheduler, faults, wire, process } = parts
  const { domain } = chain.model
  const account = enclaveOfKey(privateKey).toLowerCase() as Hex

  /** Asks a node, which answers from the chain as it knows it. */
  const ask = <T>(name: string, read: (view: View) => T): Promise<T> => {
    const node = faults.onNodeCall(process, name, scheduler.now)
    return life.call(node, () => read(new View(chain, node, faults)))
  }

  return {
    account,
    domain,
    identity: () => ask('identity', () => `simulated ${domain.chainId}`),
    standingOf: (enclave) =>
      ask('standingOf', ({ state }) => {
        const entry = state.settlement.enclaves.get(enclave)
        if (entry === undefined) return 'unknown'
        return entry.isCompromised ? 'ended' : entry.role
      }),
    writerOf: (keyset) => ask('writerOf', ({ state }) => state.settlement.keysets.get(keyset)?.writer),
    isCompromised: (enclave) =>
      ask('isCompromised', ({ state }) => state.settlement.enclaves.get(enclave)?.isCompromised ?? false),
    exclusiveUntil: (enclave) =>
      ask('exclusiveUntil', ({ state }) => {
        const terms = state.settlement.terms.get(enclave)
        return terms === undefined ? 0n : terms.lastPaidAt + terms.exclusiveSeconds
      }),
    readBlock: (block) => ask('readBlock', (view) => view.block(block)),
    readSettleTransactionsOf: (hash) => ask('readSettleTransactionsOf', (view) => view.settleTransactionsOf(hash)),
    readSettleTransactions: (from, to) => ask('readSettleTransactions', (view) => view.settleTransactions(from, to)),
    readReceipt: (hash) => ask('readReceipt', (view) => view.receipt(hash)),
    isKnown: (hash) =>
      ask('isKnown', (view) => chain.waiting.some((waiting) => waiting.hash === hash) || view.find(hash) !== undefined),
    readNonce: () => ask('readNonce', ({ state }) => state.nonces.get(account) ?? 0),
    suggestFees: () =>
      ask('suggestFees', ({ head }) => {
        const fees = { maxFeePerGas: 2n * head.baseFee + SUGGESTED_TIP, maxPriorityFeePerGas: SUGGESTED_TIP }
        wire.suggestions.push({ at: scheduler.now, ...fees })
        return fees
      }),
    settlerFeeOf: ({ heads, clearings }) =>
      ask('settlerFeeOf', (view) => {
        const input = settleCalldata(
          heads,
          clearings.map(({ clearing }) => clearing),
        )
        return view.execute(account, input).settlerFee
      }),
    costOf: (_calldata, gas, { maxFeePerGas, maxPriorityFeePerGas: tip }) =>
      ask('costOf', () => gas * ((maxFeePerGas - tip) / 2n + tip)),
    estimateGas: (calldata) =>
      ask('estimateGas', (view) => {
        const { ok, gas } = view.execute(account, calldata)
        return ok ? gas : undefined
      }),
    async sign({ nonce, calldata, gas, fees }) {
      const call = { to: domain.settlement, data: calldata, nonce, gas, ...fees }
      return signTransaction({ chainId: domain.chainId, ...call }, privateKey)
    },
    send(raw) {
      wire.broadcasts.push({ at: scheduler.now, raw })
      const node = faults.onNodeCall(process, 'send', scheduler.now)
      // A sender tells no silence from a refusal: both pass.
      return life.call(node, () => outcomeOf(chain.submit(raw))).catch(() => 'failed' as const)
    },
  }
}

/** The chain up to where a node has it. */
class View {
  readonly #chain: Chain
  readonly #node: NodeCall
  readonly #faults: Faults
  readonly #blocks: readonly Block[]
  readonly head: Block

  constructor(chain: Chain, node: NodeCall, faults: Faults) {
    this.#chain = chain
    this.#node = node
    this.#faults = faults
    const isFormer = node.isOnFormerBranch && chain.head.number - BigInt(chain.former.length) <= FORMER_BLOCKS
    const known = isFormer ? chain.former : chain.blocks.slice(0, Math.max(1, chain.blocks.length - node.lagBlocks))
    const head = known.at(-1)
    if (head === undefined) throw new RangeError('a chain has a block')
    this.#blocks = known
    this.head = head
  }

  get state(): Block['state'] {
    return this.head.state
  }

  block(wanted: bigint | 'latest' | 'safe' | 'finalized'): BlockId | undefined {
    const { number: newest } = this.head
    const final = this.#chain.finalNumber
    const numbers = { latest: newest, finalized: final, safe: (final + newest) / 2n }
    const number = typeof wanted === 'bigint' ? wanted : smaller(numbers[wanted], newest)
    const block = this.#blocks[Number(number)]
    return block && { number, hash: block.hash, parent: block.parent }
  }

  /** Of the blocks that the node has: it does not say that some are missing. */
  settleTransactions(from: bigint, to: bigint): Hex[] {
    return this.#blocks.slice(Number(from), Number(to) + 1).flatMap(settleTransactionsOf)
  }

  settleTransactionsOf(hash: Hex): Hex[] {
    const block = [...this.#blocks, ...this.#chain.orphans].find((known) => known.hash === hash)
    if (block === undefined) throw new Error('unknown block')
    return settleTransactionsOf(block)
  }

  find(hash: Hex): { readonly transaction: IncludedTransaction; readonly block: Block } | undefined {
    for (const block of this.#blocks.toReversed()) {
      const transaction = block.transactions.find((included) => included.hash === hash)
      if (transaction !== undefined) return { transaction, block }
    }
    return undefined
  }

  receipt(hash: Hex): Receipt | undefined {
    const found = this.find(hash)
    if (found === undefined) return undefined
    if (this.#node.lies) {
      this.#faults.note('endpointLies')
      return undefined
    }
    return receiptOf(found.transaction, found.block)
  }

  /** As if it were in the next block. */
  execute(sender: Hex, input: Hex): ReturnType<Chain['model']['execute']> {
    const state = copySettlementState(this.state.settlement)
    return this.#chain.model.execute(state, { sender, input, timestamp: this.head.timestamp + 1n })
  }
}

function settleTransactionsOf({ transactions }: Block): Hex[] {
  return transactions
    .filter(({ logs }) => logs.some(({ topics }) => SETTLED_TOPICS.has(topics[0])))
    .map(({ hash }) => hash)
}

function receiptOf(transaction: IncludedTransaction, block: Block): Receipt {
  const { hash: transactionHash, from, to, gasUsed, isSuccess, logs } = transaction
  const { number: blockNumber, hash: blockHash } = block
  const place = { blockNumber, blockHash, transactionHash, transactionIndex: block.transactions.indexOf(transaction) }
  return {
    ...place,
    from,
    to,
    gasUsed,
    status: isSuccess ? 'success' : 'reverted',
    contractAddress: null,
    cumulativeGasUsed: gasUsed,
    effectiveGasPrice: block.baseFee,
    logsBloom: '0x',
    type: 'eip1559',
    logs: logs.map((log, logIndex) => ({
      ...place,
      ...log,
      topics: [...log.topics] as [Hex, ...Hex[]],
      logIndex,
      removed: false,
    })),
  } as Receipt
}

/** Raw bytes of an EIP-1559 transaction, signed by libsecp256k1. */
export function signTransaction(
  call: {
    readonly chainId: number
    readonly to: Hex
    readonly data: Hex
    readonly nonce: number
    readonly gas: bigint
    readonly maxFeePerGas: bigint
    readonly maxPriorityFeePerGas: bigint
  },
  privateKey: Uint8Array,
): Hex {
  const unsigned = { type: 'eip1559', ...call } as const
  const { r, vs } = signDigest(keccak256(serializeTransaction(unsigned)), privateKey)
  const bytes = fromHex(vs, 32)
  const yParity = (bytes[0] ?? 0) >> 7
  const s = BigInt(vs) & (2n ** 255n - 1n)
  return serializeTransaction(unsigned, { r, s: `0x${s.toString(16).padStart(64, '0')}`, yParity })
}

function outcomeOf(submitted: ReturnType<Chain['submit']>): SendOutcome {
  return submitted === 'invalid' ? 'failed' : submitted
}
