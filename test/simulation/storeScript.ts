/**
 * Plays one script on whatever implements the aggregator's store ports, and tells all that it answered: two implementations that answer alike are alike, as
 * far as the script goes. Numbers of a step mean what the answers so far make of them, so any numbers are a script.
 * @module
 */
import { concatBytes, encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import type { ProofStore } from '../../offchain/aggregator/proofsStore.ts'
import type { TransactionState } from '../../offchain/aggregator/step.ts'
import type {
  ClearingStore,
  Evidence,
  Lease,
  LogStore,
  SettledBatch,
  SettlementStore,
  StoredTransaction,
} from '../../offchain/aggregator/store.ts'

export type Stores = {
  readonly logs: LogStore
  readonly clearings: ClearingStore
  readonly settlement: SettlementStore
  readonly proofs: ProofStore
  /** Sets the clock, in milliseconds since the epoch. */
  setClock(ms: number): Promise<void>
}

/** Kinds of steps, and how often each comes among a hundred or so. */
export const STEP_WEIGHTS = {
  deliver: 10,
  noteHead: 3,
  rollBack: 1,
  contradict: 2,
  clear: 12,
  lease: 3,
  release: 1,
  ask: 2,
  seal: 14,
  sealAny: 4,
  report: 3,
  markEvidence: 1,
  sign: 12,
  submit: 8,
  include: 12,
  fail: 4,
  settle: 12,
  wait: 5,
} as const

export type ScriptStep = { readonly kind: keyof typeof STEP_WEIGHTS; readonly a: number; readonly b: number }

const START_MS = 1_800_000_000_000
/** Between two steps, so that nothing happens at one time. */
const STEP_MS = 7
const WAITS_SECONDS = [1, 11, 61, 130, 700] as const
const ENCLAVES = 3
const ACCOUNTS = 2
const KEYSETS = 2
const LEAF_BYTES = 32
const DIFFERENCE_SHOWN = 200
const WHOLE_LOOK_STEPS = 6

/** Plays `steps` and answers what each of them, and what reading everything after it, was answered. */
export async function playScript(stores: Stores, steps: readonly ScriptStep[]): Promise<string[]> {
  const player = new Player(stores)
  const answers: string[] = []
  await player.begin()
  for (const [i, step] of steps.entries()) {
    const isLookedAtWhole = i % WHOLE_LOOK_STEPS === 0 || i === steps.length - 1
    answers.push(`${step.kind} ${step.a} ${step.b}: ${await player.play(step, isLookedAtWhole)}`)
  }
  return answers
}

/** Where two plays of one script first differ: the step, and what was answered around the place. */
export function firstDifference(one: readonly string[], other: readonly string[]): string | undefined {
  for (const [i, text] of one.entries()) {
    const second = other[i] ?? ''
    if (text === second) continue
    const at = [...text].findIndex((character, place) => character !== second[place])
    const place = at === -1 ? text.length : at
    const around = (whole: string) => whole.slice(Math.max(0, place - DIFFERENCE_SHOWN), place + DIFFERENCE_SHOWN)
    const steps = one.slice(0, i + 1).map((answer) => answer.slice(0, answer.indexOf(':')))
    return `after ${steps.join(', ')}\n  ${around(text)}\n  ${around(second)}`
  }
  return undefined
}

class Player {
  readonly #stores: Stores
  #now = START_MS
  readonly #heads: EarningsHeadMessage[] = []
  readonly #leases = new Map<Hex, Lease>()
  /** In the order in which they were first seen: identifiers differ. */
  readonly #transactions: bigint[] = []
  readonly #clearings: Hex[] = []
  /** What the chain has, by block. */
  #batches: SettledBatch[] = []
  #block = 0n
  #raws = 0

  constructor(stores: Stores) {
    this.#stores = stores
  }

  async begin(): Promise<void> {
    await this.#stores.setClock(this.#now)
    await this.#stores.settlement.bindChain('a chain')
    for (let account = 0; account < ACCOUNTS; account++) await this.#lease(account, 1)
  }

  /** Does the step and reads what it may have changed; or everything there is. */
  async play(step: ScriptStep, isLookedAtWhole: boolean): Promise<string> {
    this.#now += STEP_MS
    await this.#stores.setClock(this.#now)
    let answer: unknown
    try {
      answer = await this.#do(step)
    } catch (error) {
      answer = isNamed(error) ? error.name : 'refused'
    }
    return textOf([answer, await this.#readTransactions(), isLookedAtWhole && (await this.#readRest())])
  }

  #do({ kind, a, b }: ScriptStep): Promise<unknown> {
    const { settlement } = this.#stores
    switch (kind) {
      case 'deliver':
        return this.#deliver(a % ENCLAVES, 1 + (b % 5), false)
      case 'rollBack':
        return this.#deliver(a % ENCLAVES, 1 + (b % 5), true)
      case 'noteHead':
        return this.#noteHead(a % ENCLAVES, 1 + (b % 12))
      case 'contradict':
        return this.#contradict(a % ENCLAVES, b % 3)
      case 'clear':
        return this.#clear(a, b)
      case 'lease':
        return this.#lease(a, b)
      case 'release': {
        const lease = this.#leases.get(accountOf(a))
        return lease === undefined ? Promise.resolve() : settlement.releaseLease(lease)
      }
      case 'ask':
        return settlement.askSettle(accountOf(a))
      case 'seal':
        return this.#seal(a, b)
      case 'sealAny':
        return this.#sealAny(a, b)
      case 'report':
        return this.#report(a)
      case 'markEvidence':
        return this.#markEvidence(a, b)
      case 'sign':
      case 'submit':
      case 'include':
      case 'fail':
        return this.#advance(kind, a, b)
      case 'settle':
        return this.#settle(a, b)
      case 'wait':
        this.#now += (WAITS_SECONDS[a % WAITS_SECONDS.length] ?? 0) * 1_000
        return this.#stores.setClock(this.#now)
    }
  }

  // Logs

  #deliver(n: number, count: number, isRolledBack: boolean): Promise<unknown> {
    const enclave = enclaveOf(n)
    return this.#stores.logs.withLog(enclave, roleOf(n), async (log) => {
      const size = log.edge.size + count
      const head = headOf(n, size, growthOf(n, size))
      const answer = [log.edge, log.isEnded, await log.readHead(head.size), await log.readNeighbours(head.size)]
      const held = await log.readLeaves(Math.max(0, log.edge.size - 3), log.edge.size)
      await log.append(leavesOf(n, log.edge.size, size), edgeOf(n, size), head)
      if (isRolledBack) throw new Error('given up')
      this.#heads.push(head)
      return [...answer, held]
    })
  }

  #noteHead(n: number, size: number): Promise<unknown> {
    return this.#stores.logs.withLog(enclaveOf(n), roleOf(n), async (log) => {
      if (size > log.edge.size) return 'too large'
      const neighbours = await log.readNeighbours(BigInt(size))
      const head = headOf(n, size, growthOf(n, size))
      await log.noteHead(head)
      this.#heads.push(head)
      return neighbours
    })
  }

  #contradict(n: number, variant: number): Promise<unknown> {
    const heads = [headOf(n, 1, 0n), headOf(n, 1, BigInt(variant + 1))] as const
    const calldata = toHex(concatBytes(Uint8Array.of(n, variant)))
    const evidence: Evidence = { enclave: enclaveOf(n), kind: 'contradiction', heads, calldata }
    return this.#stores.logs.withLog(enclaveOf(n), roleOf(n), (log) => log.noteEvidence(evidence))
  }

  // Clearings

  async #clear(a: number, b: number): Promise<unknown> {
    const lines = [0, 1, 2].filter((n) => ((a >> n) & 1) === 1)
    const clearing: SignedClearing = {
      keyset: wordOf('keyset', a % KEYSETS),
      issued: BigInt(b % 7) * 10n,
      captured: BigInt(b % 5) * 10n,
      enclaves: lines.map((n) => ({ enclave: enclaveOf(n), captured: BigInt((b + n) % 6) })),
      r: wordOf('r', a),
      vs: wordOf('vs', b),
    }
    const id = wordOf(textOf(clearing), 0)
    this.#clearings.push(id)
    return this.#stores.clearings.accept(id, clearing)
  }

  // Leases and transactions

  async #lease(a: number, b: number): Promise<unknown> {
    const account = accountOf(a)
    const lease = await this.#stores.settlement.takeLease(account, `holder ${b % 2}`, b % 3 === 0 ? 5 : 1_000)
    if (lease !== undefined) this.#leases.set(account, lease)
    return lease
  }

  /** Some of what is due. */
  async #seal(a: number, b: number): Promise<unknown> {
    const { settlement } = this.#stores
    const { heads, clearings } = await settlement.readDue(accountOf(a), 1 + (b % 4))
    const ids = clearings.slice(0, b % 3).map(({ id }) => id)
    const sealed = {
      kind: 'settle',
      calldata: toHex(encodeUint(BigInt(b), 4)),
      gas: 7n,
      heads,
      clearings: ids,
    } as const
    return settlement.seal(await this.#leaseOf(a, b), sealed)
  }

  /** Something, free or not. */
  async #sealAny(a: number, b: number): Promise<unknown> {
    const heads = this.#heads.filter((_, i) => i % 3 === b % 3).slice(-2)
    const distinct = heads.filter((head, i) => !heads.slice(0, i).some((other) => isSamePlace(head, other)))
    const clearings = [...new Set(this.#clearings.slice(-(b % 2)))]
    const sealed = { kind: 'settle', calldata: '0x00', gas: 8n, heads: distinct, clearings } as const
    return this.#stores.settlement.seal(await this.#leaseOf(a, b), sealed)
  }

  async #report(a: number): Promise<unknown> {
    const [pending] = await this.#stores.settlement.readPendingEvidence()
    if (pending === undefined) return 'none'
    const sealed = { kind: 'report', calldata: pending.calldata, gas: 9n, evidence: pending.id } as const
    return this.#stores.settlement.seal(await this.#leaseOf(a, 1), sealed)
  }

  async #markEvidence(a: number, b: number): Promise<unknown> {
    const pending = await this.#stores.settlement.readPendingEvidence()
    const row = pending[a % Math.max(1, pending.length)]
    return row && this.#stores.settlement.markEvidence(row.id, b % 2 === 0 ? 'reported' : 'refused')
  }

  async #advance(kind: 'sign' | 'submit' | 'include' | 'fail', a: number, b: number): Promise<unknown> {
    const { settlement } = this.#stores
    const live = await settlement.readLive(accountOf(a))
    const transaction = live[b % Math.max(1, live.length)]
    if (transaction === undefined) return 'none'
    const lease = await this.#leaseOf(a, b)
    const before = transaction.state
    const nonce = 'nonce' in before ? before.nonce : await settlement.nextNonce(accountOf(a))
    const attempts = 'attempts' in before ? before.attempts : []
    const fees = { maxFeePerGas: BigInt(b) * 10n ** 18n, maxPriorityFeePerGas: BigInt(b) }
    switch (kind) {
      case 'sign': {
        // Now and then the same bytes again, which no store takes twice; and now and then without bytes, as after a reorganisation.
        const raw = toHex(encodeUint(BigInt(b % 5 === 0 ? 1 : ++this.#raws), 8))
        const attempt = { hash: toHex(keccak256(concatBytes(encodeUint(BigInt(raw), 8)))), ...fees }
        if (attempts.length > 0 && b % 3 === 0) {
          return settlement.advance(lease, transaction.id, { name: 'signed', nonce, attempts }, {})
        }
        const state = { name: 'signed', nonce, attempts: [...attempts, attempt] } as const
        return [await settlement.advance(lease, transaction.id, state, { raw }), await settlement.readRaw(attempt.hash)]
      }
      case 'submit': {
        const state = { name: 'submitted', nonce, attempts, sentAt: this.#now, foreignSightings: b % 3 } as const
        return settlement.advance(lease, transaction.id, state, {})
      }
      case 'include':
        return settlement.advance(lease, transaction.id, this.#included(transaction, nonce, b), this.#outcome(b))
      case 'fail': {
        const state = { name: 'failed', reason: 'nonceTaken', nonce, attempts } as const
        return settlement.advance(lease, transaction.id, state, {})
      }
    }
  }

  #included({ state }: StoredTransaction, nonce: number, b: number): TransactionState {
    const attempts = 'attempts' in state ? state.attempts : []
    const inclusion = { hash: wordOf('hash', b), block: BigInt(b), blockHash: wordOf('block', b), gasUsed: 21_000n }
    return {
      name: (['included', 'included', 'safe', 'final'] as const)[b % 4] ?? 'included',
      nonce,
      attempts,
      inclusion,
    }
  }

  #outcome(b: number): Parameters<SettlementStore['advance']>[3] {
    const skipped = this.#heads
      .filter((_, i) => (i + b) % 4 === 0)
      .map(({ enclave, size }, i) => {
        const later = { retryAt: BigInt(Math.floor(this.#now / 1_000) + 30) }
        return { enclave, size, reason: 'Duplicate', ...(i % 2 === 0 ? later : {}) }
      })
    const refused = b % 3 === 0 ? [{ position: b % 2, reason: 'OutOfBounds', isRetried: b % 2 === 0 }] : []
    return { skipped, refused }
  }

  // The chain

  /** More blocks, or others instead of the last ones; now and then with a cursor that is out of date. */
  async #settle(a: number, b: number): Promise<unknown> {
    const { settlement } = this.#stores
    const cursor = await settlement.readCursor()
    const back = BigInt(a % 4 === 0 ? b % 6 : 0)
    const from = this.#block + 1n > back ? this.#block + 1n - back : 0n
    const block = from + BigInt(b % 3)
    const kept = this.#batches.filter((batch) => batch.block < from)
    const heads = this.#heads
      .filter((_, i) => (i + a) % 3 === 0)
      .slice(-3)
      .map(({ enclave, size, root, fees }, i) => ({
        enclave,
        size,
        root,
        ...((i + b) % 3 === 0 ? {} : { earned: fees }),
      }))
    const batch: SettledBatch = {
      batch: BigInt(kept.length + 1),
      root: wordOf('root', a + b),
      transaction: wordOf('transaction', a * 31 + b),
      block,
      gasUsed: 100_000n,
      heads,
    }
    const batches = heads.length > 0 ? [batch] : []
    const clearings = this.#clearings
      .filter((_, i) => (i + b) % 3 === 0)
      .slice(-2)
      .map((id) => ({ id, transaction: batch.transaction, block }))
    const finalBlock = block > 4n ? block - 4n : 0n
    const next = { block, hash: wordOf('block', a * 17 + b), finalBlock, finalHash: wordOf('final', b) }
    const expected = b % 7 === 6 ? undefined : cursor
    const isRecorded = await settlement.record(expected, next, from, { batches, clearings: distinctBy(clearings) })
    if (isRecorded) {
      this.#batches = [...kept, ...batches]
      this.#block = block
    }
    return isRecorded
  }

  // Reading

  async #readTransactions(): Promise<unknown> {
    const accounts = Array.from({ length: ACCOUNTS }, (_, i) => this.#readAccount(accountOf(i)))
    return Promise.all([...accounts, this.#stores.settlement.readSettlementTotals()])
  }

  async #readRest(): Promise<unknown> {
    const { logs, settlement, proofs } = this.#stores
    const numbers = this.#batches.map(({ batch }) => batch)
    return Promise.all([
      settlement.readPendingEvidence(),
      settlement.readCursor(),
      logs.readTotals(),
      ...Array.from({ length: ENCLAVES }, (_, n) => this.#readEnclave(n)),
      ...numbers.map((batch) => settlement.readBatch(batch)),
      proofs.readHeads(numbers).then((heads) => [...heads]),
    ])
  }

  async #readAccount(account: Hex): Promise<unknown> {
    const { settlement } = this.#stores
    const live = await settlement.readLive(account)
    for (const { id } of live) if (!this.#transactions.includes(id)) this.#transactions.push(id)
    const named = live.map(({ id, ...rest }) => ({ ...rest, number: this.#transactions.indexOf(id) }))
    const [all, one] = [await settlement.readDue(account, 256), await settlement.readDue(account, 1)]
    const rounded = { ...all, waitedSeconds: all.waitedSeconds.toFixed(3) }
    const { count, secondsAgo } = await settlement.recentFailures(account)
    return [named, rounded, one.heads, await settlement.nextNonce(account), count, secondsAgo.toFixed(3)]
  }

  async #readEnclave(n: number): Promise<unknown> {
    const { logs, proofs } = this.#stores
    const enclave = enclaveOf(n)
    const summary = await logs.readEnclave(enclave)
    const size = Number(summary?.head.size ?? 0n)
    await proofs.catchUp(enclave)
    const places = [0, Math.max(0, size - 1)].map((index) => ({ enclave, index }))
    const groups = [0, 1].flatMap((level) => [0, 1].map((index) => ({ enclave, level, index })))
    return [
      summary,
      await logs.readLeaves(enclave, Math.max(0, size - 2), size),
      size === 0 ? [] : await proofs.findCandidates([leavesOf(n, size - 1, size)]),
      await proofs.readCovering(places),
      await proofs.readCovering(places, BigInt(size)),
      await proofs.readGroups(groups),
    ]
  }

  /** Mostly renewed before it is used. */
  async #leaseOf(a: number, b: number): Promise<Lease> {
    if (b % 8 !== 0) await this.#lease(a, 1)
    return this.#leases.get(accountOf(a)) ?? { account: accountOf(a), epoch: 0n }
  }
}

function isNamed(error: unknown): error is Error {
  return error instanceof Error && error.name === 'LeaseLostError'
}

function isSamePlace(a: EarningsHeadMessage, b: EarningsHeadMessage): boolean {
  return a.enclave === b.enclave && a.size === b.size
}

function distinctBy<T extends { readonly id: Hex }>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [value.id, value])).values()]
}

function wordOf(name: string, n: number): Hex {
  return toHex(keccak256(new TextEncoder().encode(`${name} ${n}`)))
}

function enclaveOf(n: number): Hex {
  return `0x${wordOf('enclave', n).slice(26)}`
}

function accountOf(n: number): Hex {
  return `0x${wordOf('account', n % ACCOUNTS).slice(26)}`
}

/** The last one is an issuer's. */
function roleOf(n: number): 'gateway' | 'issuer' {
  return n === ENCLAVES - 1 ? 'issuer' : 'gateway'
}

function leavesOf(n: number, from: number, to: number): Uint8Array {
  const leaves = Array.from({ length: to - from }, (_, i) => wordOf(`leaf ${n}`, from + i))
  return concatBytes(...leaves.map((leaf) => encodeUint(BigInt(leaf), LEAF_BYTES)))
}

function edgeOf(n: number, size: number): LogEdge {
  let edge = EMPTY_EDGE
  for (let i = 0; i < size; i++) edge = appendLeaf(edge, leavesOf(n, i, i + 1))
  return edge
}

/** Fees grow with the log, and not with every leaf. */
function growthOf(n: number, size: number): bigint {
  return BigInt(Math.floor(size / 3) * (n + 1))
}

function headOf(n: number, size: number, fees: bigint): EarningsHeadMessage {
  const signature = { r: wordOf('r', size), vs: wordOf('vs', size) }
  return { enclave: enclaveOf(n), size: BigInt(size), root: toHex(rootOfEdge(edgeOf(n, size))), fees, signature }
}

function textOf(value: unknown): string {
  return JSON.stringify(value, function (this: Readonly<Record<string, unknown>>, key) {
    // Not what is handed in: a Buffer has made something else of itself by then.
    const entry = this[key]
    if (typeof entry === 'bigint') return `${entry}n`
    if (entry instanceof Uint8Array) return toHex(entry)
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return entry
    // In one order, whatever the order in which they were written.
    return Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}
