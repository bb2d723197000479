/**
 * Brings heads, clearings and evidence on chain: carries out the effects that step.ts decides on, one at a time, and stores what came of each
 * before the next. At most one transaction of the account waits for inclusion, so a batch is built on what the chain says by then.
 * @module
 */
import { strict as assert } from 'node:assert'
import { keccak256 } from 'viem'
import { AppError } from '#node/appError.ts'
import type { LogFields, Logger } from '#node/log.ts'
import { larger } from '#protocol/bigints.ts'
import type { Hex } from '#protocol/bytes.ts'
import { toJson } from '#protocol/wire/json.ts'
import { type ClearingOutcome, type ClearingRefusal, type HeadSkip, readSettlementEvents } from './batchEvents.ts'
import { gasBound, planCall, type SettleCall, shrinkCall } from './callPlan.ts'
import { type SettlementChain, settleCalldata } from './chainAccess.ts'
import type { SettlePolicy } from './config.ts'
import type { Balance, Economics } from './economics.ts'
import {
  type Attempt,
  type Effect,
  type Fees,
  type Inclusion,
  step,
  type TransactionEvent,
  type TransactionState,
} from './step.ts'
import type {
  Due,
  Lease,
  RefusedClearing,
  SettlementStore,
  SkippedHead,
  StoredTransaction,
  TransactionChange,
} from './store.ts'

export type SubmitterPorts = {
  readonly chain: SettlementChain
  readonly store: SettlementStore
  readonly policy: SettlePolicy
  /** Absent where everything is settled when it is time. */
  readonly economics?: Economics | undefined
  readonly log: Logger
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly observer?: SettleObserver | undefined
}

/** Told what happens, for whoever counts it. Must not throw. */
export type SettleObserver = {
  readonly sealed?: (kind: StoredTransaction['kind'], balance: Balance | undefined) => void
  /** Stored: `state` is what the transaction came to from `before`. */
  readonly moved?: (before: TransactionState, state: TransactionState) => void
  /** It passes only when somebody helps: the account cannot pay. */
  readonly trouble?: (trouble: 'NO_FUNDS') => void
}

/** What an effect led to, and what is stored together with the new state. */
type Outcome = { readonly event: TransactionEvent; readonly change?: TransactionChange }

/** A call may use this much more gas than it was estimated at. */
const GAS_MARGIN_PERCENT = 20n
const FAILURE_PAUSE_SECONDS_MAX = 600

/**
 * Does the next thing there is to do for the account. Answers whether something moved, so that a caller goes on until nothing does.
 * Stops after every stored change: a process that ends here loses nothing. Throws what store and chain throw.
 */
export async function advance(ports: SubmitterPorts, lease: Lease): Promise<boolean> {
  const live = await ports.store.readLive(lease.account)
  const nonces = new Set(live.map(({ state }) => nonceOf(state)))
  for (const transaction of live) {
    if (await drive(ports, lease, transaction, nonces)) return true
  }
  if (live.some(({ state }) => state.name === 'sealed' || state.name === 'signed' || state.name === 'submitted')) {
    return false
  }
  return seal(ports, lease)
}

// One transaction

/** `nonces` are those of all live transactions of the account. */
async function drive(
  ports: SubmitterPorts,
  lease: Lease,
  transaction: StoredTransaction,
  nonces: ReadonlySet<number>,
): Promise<boolean> {
  const policy = { resubmitMs: ports.policy.resubmitSeconds * 1_000 }
  const before = transaction.state
  let { effect } = step(before, { name: 'resumed' }, policy)
  // A look for receipts changes nothing to store and may name one more effect, raised fees. What is left then waits for the next round.
  for (let i = 0; i < 2 && effect !== undefined; i++) {
    const { event, change = {} } = await perform(ports, transaction, effect, nonces)
    const next = step(before, event, policy)
    if (toJson(next.state) !== toJson(before)) {
      await ports.store.advance(lease, transaction.id, next.state, change)
      report(ports, transaction, next.state)
      ports.observer?.moved?.(before, next.state)
      return isProgress(before, next.state)
    }
    effect = next.effect
  }
  return false
}

function isProgress(before: TransactionState, after: TransactionState): boolean {
  return before.name !== after.name || attemptsOf(before).length !== attemptsOf(after).length
}

async function perform(
  ports: SubmitterPorts,
  transaction: StoredTransaction,
  effect: Effect,
  nonces: ReadonlySet<number>,
): Promise<Outcome> {
  const { chain, store, now } = ports
  const { state } = transaction
  switch (effect.name) {
    case 'sign': {
      const [used, stored] = await Promise.all([chain.readNonce(), store.nextNonce(chain.account)])
      return sign(chain, transaction, Math.max(used, stored), await chain.suggestFees())
    }
    case 'replace':
      return sign(chain, transaction, nonceOf(state), effect.fees)
    case 'broadcast': {
      const newest = attemptsOf(state).at(-1)
      const raw = newest && (await store.readRaw(newest.hash))
      assert(raw !== undefined, 'raw bytes are stored with the attempt that names them')
      switch (await chain.send(raw)) {
        case 'underpriced':
          return { event: { name: 'underpriced', fees: await chain.suggestFees() } }
        case 'noFunds':
          ports.observer?.trouble?.('NO_FUNDS')
          return { event: { name: 'unsent' } }
        case 'failed':
          return { event: { name: 'unsent' } }
        default:
          return { event: { name: 'broadcast', at: now() } }
      }
    }
    case 'poll':
      return poll(ports, transaction, nonces)
    case 'watch':
      return { event: await watch(ports, state) }
  }
}

async function sign(
  chain: SettlementChain,
  { calldata, gas }: StoredTransaction,
  nonce: number,
  fees: Fees,
): Promise<Outcome> {
  const raw = await chain.sign({ nonce, calldata, gas, fees })
  return { event: { name: 'signed', nonce, attempt: { hash: keccak256(raw), ...fees } }, change: { raw } }
}

/** Any attempt may be the one that was included, not only the newest. */
async function poll(
  { chain, now }: SubmitterPorts,
  { state }: StoredTransaction,
  nonces: ReadonlySet<number>,
): Promise<Outcome> {
  const attempts = attemptsOf(state)
  for (const { hash } of attempts) {
    const receipt = await chain.readReceipt(hash)
    if (receipt === undefined) continue
    const { blockNumber: block, blockHash, gasUsed } = receipt
    const { skips, clearings } = readSettlementEvents(receipt, chain.domain)
    const event = {
      name: 'included',
      inclusion: { hash, block, blockHash, gasUsed },
      isSuccess: receipt.status === 'success',
    } as const
    const skipped = await Promise.all(skips.map((skip) => skippedHead(chain, skip)))
    return { event, change: { skipped, refused: refusedClearings(clearings) } }
  }
  const next = await chain.readNonce()
  if (next > nonceOf(state)) return { event: { name: 'nonceTaken' } }
  if (!nonces.has(next)) return { event: { name: 'nonceGap', at: now() } }
  for (const { hash } of attempts) {
    if (await chain.isKnown(hash)) {
      return { event: { name: 'pending', at: now(), fees: await chain.suggestFees() } }
    }
  }
  return { event: { name: 'dropped' } }
}

/** The root of a head that met another's exclusive time is stored; its money is tried again when that time is over. */
async function skippedHead(chain: SettlementChain, { enclave, size, reason }: HeadSkip): Promise<SkippedHead> {
  return reason === 'SettlerExclusive'
    ? { enclave, size, reason, retryAt: await chain.exclusiveUntil(enclave) }
    : { enclave, size, reason }
}

/** Deposits may still arrive. A keyset's writer, and what it signed, do not change. */
const RETRIED_REFUSALS: ReadonlySet<ClearingRefusal> = new Set(['OutOfBounds'])

function refusedClearings(outcomes: readonly ClearingOutcome[]): RefusedClearing[] {
  return outcomes.flatMap((outcome, position) =>
    outcome.isSettled ? [] : [{ position, reason: outcome.reason, isRetried: RETRIED_REFUSALS.has(outcome.reason) }],
  )
}

async function watch({ chain, policy }: SubmitterPorts, state: TransactionState): Promise<TransactionEvent> {
  const inclusion = inclusionOf(state)
  const receipt = await chain.readReceipt(inclusion.hash)
  if (receipt?.blockHash !== inclusion.blockHash) return { name: 'reorged' }
  const newest = await chain.readBlock('latest')
  const isBelow = async (tag: 'safe' | 'finalized', depth: number | undefined) => {
    const block = depth === undefined ? (await chain.readBlock(tag))?.number : newest && newest.number - BigInt(depth)
    return block !== undefined && inclusion.block <= block
  }
  if (await isBelow('finalized', policy.depth?.final)) return { name: 'finalized' }
  if (state.name === 'included' && (await isBelow('safe', policy.depth?.safe))) return { name: 'safe' }
  return { name: 'standing' }
}

// A new one

async function seal(ports: SubmitterPorts, lease: Lease): Promise<boolean> {
  const { store, policy, log } = ports
  const failures = await store.recentFailures(lease.account)
  // Whatever made a transaction fail may still be there: each failure doubles the pause before more gas is spent.
  const pause = Math.max(policy.everySeconds, 1) * 2 ** failures.count
  if (failures.count > 0 && failures.secondsAgo < Math.min(pause, FAILURE_PAUSE_SECONDS_MAX)) return false
  if (await sealReport(ports, lease)) return true

  const due = await store.readDue(lease.account, policy.headsMax)
  if (due.heads.length + due.clearings.length === 0 || !isTime(due, policy)) return false
  if (!due.isAsked && ports.economics?.isResting(due.waitedSeconds) === true) return false
  const planned = await planFitting(ports, due)
  const { heads, clearings } = planned.call
  const balance = await ports.economics?.weigh(ports.chain, planned.call, planned.calldata, planned.estimate)
  if (balance !== undefined && !due.isAsked && ports.economics?.approves(balance, due.waitedSeconds) === false)
    return false
  const { calldata, gas } = planned
  const ids = clearings.map(({ id }) => id)
  const isSealed = await store.seal(lease, { kind: 'settle', calldata, gas, heads, clearings: ids })
  if (isSealed) {
    ports.observer?.sealed?.('settle', balance)
    const counts = { heads: heads.length, clearings: ids.length, leaves: due.leaves, gas }
    log.info('batch sealed', { ...counts, ...balanceFields(balance) })
  }
  return isSealed
}

function isTime({ isAsked, waitedSeconds, leaves, value }: Due, policy: SettlePolicy): boolean {
  if (isAsked || waitedSeconds >= policy.everySeconds) return true
  return leaves >= BigInt(policy.leavesMax) || value >= policy.valueMax
}

/** `gas` is what the call may use, `estimate` what it does. */
type PlannedCall = {
  readonly call: SettleCall
  readonly calldata: Hex
  readonly estimate: bigint
  readonly gas: bigint
}

/** As much of what is due as stays below the limit of gas. */
async function planFitting(ports: SubmitterPorts, due: Due): Promise<PlannedCall> {
  const { gasMax } = ports.policy
  let call = planCall(due, gasMax)
  for (;;) {
    const signed = call.clearings.map(({ clearing }) => clearing)
    const calldata = settleCalldata(call.heads, signed)
    const estimate = await ports.chain.estimateGas(calldata)
    if (estimate === undefined) {
      throw new AppError('BAD_CONFIG', 'settle never reverts, but did: is this the settlement contract?')
    }
    const gas = withMargin(estimate)
    const smaller = gas > BigInt(gasMax) ? shrinkCall(call) : undefined
    // What is skipped where it was estimated may be accepted where it is executed, and then needs more.
    if (smaller === undefined) return { call, calldata, estimate, gas: larger(gas, BigInt(gasBound(call))) }
    call = smaller
  }
}

function balanceFields(balance: Balance | undefined): LogFields {
  if (balance === undefined) return {}
  const { fee, cost, costWei } = balance
  return { fee, cost, costWei }
}

async function sealReport(ports: SubmitterPorts, lease: Lease): Promise<boolean> {
  const { chain, store, log } = ports
  for (const { id, enclave, calldata } of await store.readPendingEvidence()) {
    if (await chain.isCompromised(enclave)) {
      await store.markEvidence(id, 'reported')
      continue
    }
    const estimate = await chain.estimateGas(calldata)
    if (estimate === undefined) {
      log.error('evidence refused', { enclave, evidence: id })
      await store.markEvidence(id, 'refused')
      continue
    }
    log.warn('enclave contradicted itself', { enclave, evidence: id })
    const isSealed = await store.seal(lease, { kind: 'report', calldata, gas: withMargin(estimate), evidence: id })
    if (isSealed) ports.observer?.sealed?.('report', undefined)
    return isSealed
  }
  return false
}

function withMargin(gas: bigint): bigint {
  return gas + (gas * GAS_MARGIN_PERCENT) / 100n
}

function report({ log }: SubmitterPorts, { id, kind }: StoredTransaction, state: TransactionState): void {
  const fields = { transaction: id, kind, state: state.name, nonce: nonceOf(state) }
  if (state.name === 'failed') log.warn('transaction failed', { ...fields, reason: state.reason })
  else if (state.name === 'included') {
    const { hash, block, gasUsed } = state.inclusion
    log.info('transaction included', { ...fields, hash, block, gasUsed })
  } else log.info('transaction moved', { ...fields, attempts: attemptsOf(state).length })
}

function attemptsOf(state: TransactionState): readonly Attempt[] {
  return 'attempts' in state ? state.attempts : []
}

function nonceOf(state: TransactionState): number {
  return 'nonce' in state ? state.nonce : -1
}

function inclusionOf(state: TransactionState): Inclusion {
  assert('inclusion' in state, 'only an included transaction is watched')
  return state.inclusion
}
