/**
 * A chain in memory: blocks with states, a mempool, a base fee, and reorganisations that put transactions back or lose them. It does what it is
 * told and when; faults.ts tells it.
 * @module
 */
import {
  keccak256,
  parseTransaction,
  serializeTransaction,
  type TransactionSerializableEIP1559,
  toHex as viemHex,
} from 'viem'
import { isSigner } from '#node/signatures.ts'
import { smaller } from '#protocol/bigints.ts'
import { encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import type { Random } from './random.ts'
import {
  copySettlementState,
  createSettlementState,
  type Executed,
  type Log,
  type SettlementModel,
  type SettlementState,
} from './settlementModel.ts'

/** Addresses in lower case. `raw` is absent for those whose keys nobody here has: other settlers, issuers, operators. */
export type Transaction = {
  readonly hash: Hex
  readonly from: Hex
  readonly nonce: number
  readonly to: Hex
  readonly input: Hex
  readonly value: bigint
  readonly gas: bigint
  readonly maxFeePerGas: bigint
  readonly maxPriorityFeePerGas: bigint
  readonly raw?: Hex
}

export type IncludedTransaction = Transaction & {
  readonly isSuccess: boolean
  readonly gasUsed: bigint
  readonly logs: readonly Log[]
}

export type Block = {
  readonly number: bigint
  readonly hash: Hex
  readonly parent: Hex
  /** Seconds since the epoch. */
  readonly timestamp: bigint
  /** When it came to be, on the virtual clock in milliseconds. */
  readonly minedAt: number
  readonly baseFee: bigint
  readonly transactions: readonly IncludedTransaction[]
  /** After it. */
  readonly state: ChainState
}

export type ChainState = {
  readonly settlement: SettlementState
  readonly nonces: ReadonlyMap<Hex, number>
  readonly balances: ReadonlyMap<Hex, bigint>
}

/** What is done to the state without a transaction that anybody judges: deposits, refills, names of settlers. */
export type Deed = { readonly name: string; apply(state: MutableState, timestamp: bigint): void }

export type MutableState = {
  readonly settlement: SettlementState
  readonly nonces: Map<Hex, number>
  readonly balances: Map<Hex, bigint>
}

export type Submitted = 'taken' | 'known' | 'usedNonce' | 'underpriced' | 'noFunds' | 'invalid'

export type ChainOptions = {
  readonly chainId: number
  readonly settlement: Hex
  /** Our accounts: raw bytes of others are refused. */
  readonly accounts: readonly Hex[]
  readonly startSeconds: bigint
  /** Whether nodes refuse what is below the base fee of now, as some do. */
  readonly refusesBelowBaseFee: boolean
}

export const SUGGESTED_TIP = 1_000_000_000n
const BASE_FEE = 10_000_000_000n
const TRANSFER_GAS = 21_000n

export class Chain {
  readonly model: SettlementModel
  readonly options: ChainOptions
  readonly #random: Random
  /** The canonical chain, by number. */
  readonly blocks: Block[] = []
  /** Blocks that were reorganised away. */
  readonly orphans: Block[] = []
  /** The whole chain before the last reorganisation, as nodes have it that have not heard of that yet. */
  former: readonly Block[] = []
  /** Our accounts' waiting transactions, by account and nonce. */
  readonly #mempool = new Map<string, Transaction>()
  /** What others sent, in order. */
  readonly #others: Transaction[] = []
  #deeds: Deed[] = []
  /** Deeds by the block that did them, so that a reorganisation does them again. */
  readonly #deedsOf = new Map<Hex, readonly Deed[]>()
  #count = 0
  /** Above which nothing is final. Never falls. */
  finalNumber = 0n
  /** In percent of what it would be. */
  baseFeePercent = 100n
  /** While blocks are full of what others pay more for. */
  isCongested = false

  constructor(model: SettlementModel, options: ChainOptions, random: Random, genesis: (state: MutableState) => void) {
    this.model = model
    this.options = options
    this.#random = random
    const state = { settlement: createSettlementState(), nonces: new Map(), balances: new Map() }
    genesis(state)
    const transactions: IncludedTransaction[] = []
    this.blocks.push({
      number: 0n,
      hash: this.#newHash(),
      parent: `0x${'00'.repeat(32)}`,
      timestamp: options.startSeconds,
      minedAt: 0,
      baseFee: BASE_FEE,
      transactions,
      state,
    })
  }

  get head(): Block {
    return this.blockAt(BigInt(this.blocks.length - 1))
  }

  blockAt(number: bigint): Block {
    const block = this.blocks[Number(number)]
    if (block === undefined) throw new RangeError(`no block ${number}`)
    return block
  }

  // What is sent

  /** As a node answers to raw bytes. Signature and form are checked. */
  submit(raw: Hex): Submitted {
    const transaction = parseSigned(raw, this.options)
    if (transaction === undefined) return 'invalid'
    const { from, nonce, maxFeePerGas, maxPriorityFeePerGas, gas } = transaction
    const { nonces, balances } = this.head.state
    const key = `${from} ${nonce}`
    const waiting = this.#mempool.get(key)
    if (waiting?.hash === transaction.hash) return 'known'
    if (nonce < (nonces.get(from) ?? 0)) return 'usedNonce'
    if (this.options.refusesBelowBaseFee && maxFeePerGas < this.head.baseFee) return 'underpriced'
    if (maxFeePerGas * gas > (balances.get(from) ?? 0n)) return 'noFunds'
    const isRaised = (before: bigint, after: bigint) => after * 100n >= before * 110n
    if (
      waiting !== undefined &&
      !(isRaised(waiting.maxFeePerGas, maxFeePerGas) && isRaised(waiting.maxPriorityFeePerGas, maxPriorityFeePerGas))
    ) {
      return 'underpriced'
    }
    this.#mempool.set(key, transaction)
    return 'taken'
  }

  /** A call by somebody whose signature nobody checks here. */
  submitOther(from: Hex, input: Hex): void {
    const fees = { maxFeePerGas: 1_000n * BASE_FEE, maxPriorityFeePerGas: SUGGESTED_TIP }
    const call = { from, nonce: 0, to: this.options.settlement, input, value: 0n, gas: 16_000_000n, ...fees }
    this.#others.push({ ...call, hash: this.#newHash() })
  }

  submitDeed(deed: Deed): void {
    this.#deeds.push(deed)
  }

  /** Loses what waits of this share of our accounts' transactions. Answers how many. */
  drop(probability: number): number {
    const lost = [...this.#mempool.keys()].filter(() => this.#random.chance(probability))
    for (const key of lost) this.#mempool.delete(key)
    return lost.length
  }

  get waiting(): readonly Transaction[] {
    return [...this.#mempool.values()]
  }

  // Blocks

  mine(timestamp: bigint, minedAt: number): Block {
    const parent = this.head
    const seconds = timestamp > parent.timestamp ? timestamp : parent.timestamp + 1n
    const baseFee = (BASE_FEE * this.baseFeePercent * BigInt(this.#random.integer(95, 105))) / 10_000n
    const state: MutableState = {
      settlement: copySettlementState(parent.state.settlement),
      nonces: new Map(parent.state.nonces),
      balances: new Map(parent.state.balances),
    }
    const hash = this.#newHash()
    for (const deed of this.#deeds) deed.apply(state, seconds)
    this.#deedsOf.set(hash, this.#deeds)
    this.#deeds = []
    const transactions: IncludedTransaction[] = []
    for (const transaction of this.#others.splice(0))
      transactions.push(this.#execute(state, transaction, seconds, baseFee))
    if (!this.isCongested) {
      // Until nothing more fits: a nonce makes the next one fit.
      for (let next = this.#nextOf(state, baseFee); next !== undefined; next = this.#nextOf(state, baseFee)) {
        this.#mempool.delete(`${next.from} ${next.nonce}`)
        transactions.push(this.#execute(state, next, seconds, baseFee))
      }
    }
    const block = {
      number: parent.number + 1n,
      hash,
      parent: parent.hash,
      timestamp: seconds,
      minedAt,
      baseFee,
      transactions,
      state,
    }
    this.blocks.push(block)
    this.#forgetUsed()
    return block
  }

  /**
   * Replaces the newest `depth` blocks by as many and `more`. Each transaction in them waits again, or is lost with the probability `loss`; deeds
   * are done again.
   */
  reorganise(depth: number, more: number, loss: number, now: number): void {
    this.former = [...this.blocks]
    const removed = this.blocks.splice(this.blocks.length - depth)
    this.orphans.push(...removed)
    for (const block of removed) {
      this.#deeds.push(...(this.#deedsOf.get(block.hash) ?? []))
      for (const transaction of block.transactions) {
        if (this.#random.chance(loss)) continue
        if (transaction.raw === undefined) this.#others.push(withoutResult(transaction))
        else this.submit(transaction.raw)
      }
    }
    const last = removed.at(-1)?.timestamp ?? 0n
    for (let i = 0; i < depth + more; i++) {
      const nominal = removed[i]?.timestamp ?? last
      // What was in one block comes back in another, or some blocks later.
      const isHeld = this.#random.chance(0.4)
      const before = this.isCongested
      this.isCongested = before || isHeld
      this.mine(nominal, now)
      this.isCongested = before
    }
  }

  #nextOf(state: MutableState, baseFee: bigint): Transaction | undefined {
    return [...this.#mempool.values()]
      .filter(({ from, nonce, gas, maxFeePerGas }) => {
        const isPaid = maxFeePerGas * gas <= (state.balances.get(from) ?? 0n)
        return nonce === (state.nonces.get(from) ?? 0) && maxFeePerGas >= baseFee && isPaid
      })
      .sort((a, b) => (a.maxPriorityFeePerGas > b.maxPriorityFeePerGas ? -1 : 1))[0]
  }

  #execute(state: MutableState, transaction: Transaction, timestamp: bigint, baseFee: bigint): IncludedTransaction {
    const { from, to, input, gas, nonce, maxFeePerGas, maxPriorityFeePerGas, raw } = transaction
    const before = copySettlementState(state.settlement)
    const result: Executed =
      to === this.options.settlement
        ? this.model.execute(state.settlement, { sender: from, input, timestamp })
        : { ok: true, gas: TRANSFER_GAS, logs: [], settlerFee: 0n }
    const isSuccess = result.ok && result.gas <= gas
    if (!isSuccess) Object.assign(state.settlement, before)
    const gasUsed = result.gas > gas ? gas : result.gas
    if (raw !== undefined) {
      const tip = smaller(maxFeePerGas - baseFee, maxPriorityFeePerGas)
      state.nonces.set(from, nonce + 1)
      state.balances.set(from, (state.balances.get(from) ?? 0n) - gasUsed * (baseFee + tip) - transaction.value)
    }
    return { ...transaction, isSuccess, gasUsed, logs: isSuccess ? result.logs : [] }
  }

  /** A node forgets what can never be included any more. */
  #forgetUsed(): void {
    for (const [key, { from, nonce }] of this.#mempool) {
      if (nonce < (this.head.state.nonces.get(from) ?? 0)) this.#mempool.delete(key)
    }
  }

  #newHash(): Hex {
    const words = Array.from({ length: 8 }, () => encodeUint(BigInt(this.#random.word()), 4))
    return keccak256(viemHex(`${this.#count++} ${words.map(toHex).join('')}`))
  }
}

/** A transaction as it is before it is in a block. */
function withoutResult({ isSuccess, gasUsed, logs, ...transaction }: IncludedTransaction): Transaction {
  return transaction
}

function parseSigned(raw: Hex, { chainId, accounts }: ChainOptions): Transaction | undefined {
  const parsed = parseTransaction(raw)
  if (parsed.type !== 'eip1559' || parsed.chainId !== chainId || parsed.to === undefined || parsed.to === null)
    return undefined
  const { r, s, yParity, v, ...unsigned } = parsed
  if (r === undefined || s === undefined || yParity === undefined) return undefined
  const digest = keccak256(serializeTransaction(unsigned as TransactionSerializableEIP1559))
  const vs = viemHex((BigInt(yParity) << 255n) | BigInt(s), { size: 32 })
  const from = accounts.find((account) => isSigner(digest, { r: viemHex(BigInt(r), { size: 32 }), vs }, account))
  if (from === undefined) return undefined
  const { nonce = 0, data = '0x', value = 0n, gas = 0n, maxFeePerGas = 0n, maxPriorityFeePerGas = 0n } = parsed
  const to = parsed.to.toLowerCase() as Hex
  return { hash: keccak256(raw), from, nonce, to, input: data, value, gas, maxFeePerGas, maxPriorityFeePerGas, raw }
}
