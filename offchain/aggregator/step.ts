/**
 * What happens to one logical transaction: a nonce of the sending account, and as many attempts at it as it takes. Pure: `step` decides,
 * submitter.ts carries out the effect and comes back with the next event.
 *
 *   open      heads wait to share a batch              sealed     calldata frozen and stored
 *   signed    raw bytes of an attempt stored           submitted  the node took an attempt, or knew it
 *   included  in a block                               safe, final   by the node's tags, or by depth
 *   failed    reverted, or the nonce went to another transaction, or a nonce before it is nobody's: its heads are unsettled again
 *
 * Every state names the effect that leads on (`resumed`), so that a process that was killed anywhere goes on from what is stored:
 *
 *   killed after            what is lost, and what happens next
 *   sealed                  nothing; it is signed
 *   signing, not stored     the signature; another is made with the same nonce
 *   raw stored              nothing; the same bytes are broadcast
 *   broadcast, not noted    the note; the same bytes are broadcast again, and the node knows them
 *   inclusion, not noted    the note; the receipt of one of the attempts is found
 *   the whole database      the intents; what is on chain is read again, what is not is delivered again by the agents
 *
 * @module
 */
import { strict as assert } from 'node:assert'
import { larger } from '#protocol/bigints.ts'
import type { Hex } from '#protocol/bytes.ts'

/** Wei per gas. */
export type Fees = { readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }

export type Attempt = Fees & { readonly hash: Hex }

export type Inclusion = {
  readonly hash: Hex
  readonly block: bigint
  readonly blockHash: Hex
  readonly gasUsed: bigint
}

type Sent = { readonly nonce: number; readonly attempts: readonly Attempt[] }

/** `sentAt` in milliseconds since the epoch; `foreignSightings` counts looks in a row by which the nonce will never be ours. */
export type TransactionState =
  | { readonly name: 'open' }
  | { readonly name: 'sealed' }
  | ({ readonly name: 'signed' } & Sent)
  | ({ readonly name: 'submitted'; readonly sentAt: number; readonly foreignSightings: number } & Sent)
  | ({ readonly name: 'included' | 'safe' | 'final'; readonly inclusion: Inclusion } & Sent)
  | ({ readonly name: 'failed'; readonly reason: FailureReason } & Sent)

export type FailureReason = 'reverted' | 'nonceTaken' | 'nonceGap'

/** Times in milliseconds since the epoch; `fees` are what the node suggests now. */
export type TransactionEvent =
  /** The process starts, or comes back to this transaction. */
  | { readonly name: 'resumed' }
  /** Calldata is frozen and stored. */
  | { readonly name: 'sealed' }
  /** The raw bytes of an attempt are stored: the first, or one with raised fees. */
  | { readonly name: 'signed'; readonly nonce: number; readonly attempt: Attempt }
  /** The node took the newest attempt or knew it, or says that the nonce is used: the receipts will tell by what. */
  | { readonly name: 'broadcast'; readonly at: number }
  /** The node wants higher fees than the newest attempt's. */
  | { readonly name: 'underpriced'; readonly fees: Fees }
  /** The node did not take it for a reason that passes: no answer, no funds. */
  | { readonly name: 'unsent' }
  /** Some attempt is known to the node, none is included. */
  | { readonly name: 'pending'; readonly at: number; readonly fees: Fees }
  /** No attempt is known to the node any more, and the nonce is unused. */
  | { readonly name: 'dropped' }
  /** The nonce is used, and not by any attempt. */
  | { readonly name: 'nonceTaken' }
  /** The account's next nonce is below, and no transaction of ours has it: what had it was reorganised away, and ours would wait for ever. */
  | { readonly name: 'nonceGap'; readonly at: number }
  | { readonly name: 'included'; readonly inclusion: Inclusion; readonly isSuccess: boolean }
  /** It still stands, no deeper than before. */
  | { readonly name: 'standing' }
  /** The block that held it is not part of the chain any more. */
  | { readonly name: 'reorged' }
  | { readonly name: 'safe' }
  | { readonly name: 'finalized' }

export type Effect =
  | { readonly name: 'sign' }
  | { readonly name: 'replace'; readonly fees: Fees }
  | { readonly name: 'broadcast' }
  /** Look for receipts of all attempts. */
  | { readonly name: 'poll' }
  /** Look whether the inclusion still stands and how deep it is. */
  | { readonly name: 'watch' }

export type Step = { readonly state: TransactionState; readonly effect?: Effect }

export type StepPolicy = { readonly resubmitMs: number }

/** One endpoint that lags may not see our own receipt yet: the nonce counts as taken only after this many looks. */
const FOREIGN_SIGHTINGS_MAX = 3
/** Nodes take a replacement only for at least 10 % more; this is 12.5 %. */
const BUMP_DIVISOR = 8n
/** Fees are raised up to this multiple of what the node suggests; from there on the same bytes are broadcast again. */
const FEE_LIMIT_FACTOR = 5n

/** The state after `event`, and what to do next. An event that cannot happen in a state is a bug and throws. */
export function step(state: TransactionState, event: TransactionEvent, policy: StepPolicy): Step {
  switch (state.name) {
    case 'open':
      return fromOpen(event)
    case 'sealed':
      return fromSealed(state, event)
    case 'signed':
      return fromSigned(state, event)
    case 'submitted':
      return fromSubmitted(state, event, policy)
    case 'included':
    case 'safe':
      return fromIncluded(state, event)
    case 'final':
    case 'failed':
      assert(event.name === 'resumed', `nothing happens to a transaction that is ${state.name}: got ${event.name}`)
      return { state }
  }
}

function fromOpen(event: TransactionEvent): Step {
  assert(event.name === 'sealed', `an open batch is sealed first: got ${event.name}`)
  return { state: { name: 'sealed' }, effect: { name: 'sign' } }
}

function fromSealed(state: TransactionState & { name: 'sealed' }, event: TransactionEvent): Step {
  if (event.name === 'resumed') return { state, effect: { name: 'sign' } }
  assert(event.name === 'signed', `a sealed transaction is signed first: got ${event.name}`)
  return {
    state: { name: 'signed', nonce: event.nonce, attempts: [event.attempt] },
    effect: { name: 'broadcast' },
  }
}

function fromSigned(state: TransactionState & { name: 'signed' }, event: TransactionEvent): Step {
  switch (event.name) {
    case 'resumed':
      return { state, effect: { name: 'broadcast' } }
    case 'unsent':
      return { state }
    case 'broadcast':
      return {
        state: { ...state, name: 'submitted', sentAt: event.at, foreignSightings: 0 },
        effect: { name: 'poll' },
      }
    case 'underpriced':
      return { state, effect: replacement(state, event.fees) }
    case 'signed':
      return { state: withAttempt(state, event.attempt), effect: { name: 'broadcast' } }
    default:
      return assert.fail(`a signed transaction is broadcast first: got ${event.name}`)
  }
}

function fromSubmitted(
  state: TransactionState & { name: 'submitted' },
  event: TransactionEvent,
  policy: StepPolicy,
): Step {
  const { nonce, attempts } = state
  switch (event.name) {
    case 'resumed':
      return { state, effect: { name: 'poll' } }
    case 'pending': {
      if (event.at - state.sentAt < policy.resubmitMs) return { state: { ...state, foreignSightings: 0 } }
      return { state: { ...state, foreignSightings: 0 }, effect: replacement(state, event.fees) }
    }
    case 'signed':
      return { state: withAttempt({ name: 'signed', nonce, attempts }, event.attempt), effect: { name: 'broadcast' } }
    case 'broadcast':
      return { state: { ...state, sentAt: event.at } }
    case 'underpriced':
    case 'unsent':
      // Only ever of a second broadcast of the same bytes: the node has them, or will be asked again.
      return { state }
    case 'dropped':
      return { state: { name: 'signed', nonce, attempts }, effect: { name: 'broadcast' } }
    case 'nonceGap':
      // What had the nonce before may come back by itself.
      return event.at - state.sentAt < policy.resubmitMs ? { state } : sighted(state, 'nonceGap')
    case 'nonceTaken':
      return sighted(state, 'nonceTaken')
    case 'included':
      return event.isSuccess
        ? { state: { name: 'included', nonce, attempts, inclusion: event.inclusion }, effect: { name: 'watch' } }
        : { state: { name: 'failed', reason: 'reverted', nonce, attempts } }
    default:
      return assert.fail(`a submitted transaction is looked for: got ${event.name}`)
  }
}

function sighted(state: TransactionState & { name: 'submitted' }, reason: FailureReason): Step {
  const { nonce, attempts } = state
  const foreignSightings = state.foreignSightings + 1
  return foreignSightings < FOREIGN_SIGHTINGS_MAX
    ? { state: { ...state, foreignSightings } }
    : { state: { name: 'failed', reason, nonce, attempts } }
}

function fromIncluded(
  state: TransactionState & { name: 'included' | 'safe' | 'final' },
  event: TransactionEvent,
): Step {
  const { nonce, attempts } = state
  switch (event.name) {
    case 'resumed':
      return { state, effect: { name: 'watch' } }
    case 'reorged':
      return { state: { name: 'signed', nonce, attempts }, effect: { name: 'broadcast' } }
    case 'standing':
      return { state }
    case 'safe':
      return { state: { ...state, name: 'safe' } }
    case 'finalized':
      return { state: { ...state, name: 'final' } }
    default:
      return assert.fail(`an included transaction is watched: got ${event.name}`)
  }
}

/** A new attempt with fees raised over the newest's, or the same bytes again once the limit is reached. */
function replacement({ attempts }: Sent, suggested: Fees): Effect {
  const newest = attempts.at(-1)
  assert(newest !== undefined, 'a signed transaction has an attempt')
  const fees = {
    maxFeePerGas: larger(raised(newest.maxFeePerGas), suggested.maxFeePerGas),
    maxPriorityFeePerGas: larger(raised(newest.maxPriorityFeePerGas), suggested.maxPriorityFeePerGas),
  }
  if (fees.maxFeePerGas > FEE_LIMIT_FACTOR * suggested.maxFeePerGas) return { name: 'broadcast' }
  return { name: 'replace', fees }
}

function withAttempt(state: TransactionState & { name: 'signed' }, attempt: Attempt): TransactionState {
  return { ...state, attempts: [...state.attempts, attempt] }
}

/** Rounded up, so that a fee of 1 wei grows too. */
function raised(fee: bigint): bigint {
  return fee + fee / BUMP_DIVISOR + 1n
}
