/**
 * The settlement contract's books kept a second time, from its events alone and by the rules of ReceiptSettlement.sol: what each enclave earned, was
 * cleared for, credited and paid, what each keyset's clearings took, and the batches. Units; addresses in lower case.
 * @module
 */
import type { parseEventLogs } from 'viem'
import { smaller } from '#protocol/bigints.ts'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import { batchRootOf } from '#protocol/log/batch.ts'
import type { receiptSettlementAbi } from '../generated/abis.ts'
import type { Discrepancies } from './discrepancy.ts'
import { type Shares, splitFees } from './feeSplit.ts'
import { accountOf, keysetOf, type SettlementRecords, settlerOf } from './settlementRecords.ts'

export type ReplayedHead = {
  readonly enclave: Hex
  readonly size: bigint
  readonly root: Hex
  readonly batch: bigint
  readonly block: bigint
}

export type ReplayedBatch = { readonly batch: bigint; readonly root: Hex; readonly block: bigint }

/** What is fixed at deployment. `protocol` draws the protocol's share, and may settle like anybody: events do not tell which of both it draws. */
export type SettlementTerms = Shares & { readonly protocol: Hex }

export type SettlementEvent = ReturnType<typeof parseEventLogs<typeof receiptSettlementAbi, true>>[number]

/** Number of `HeadRefusal.SettlerExclusive`. */
const SETTLER_EXCLUSIVE = 7
const NO_ENCLAVE = `0x${'00'.repeat(20)}`

/** Replays events, all of them in their order. What is here beside the records never outlives a block. */
export class SettlementReplay {
  readonly #records: SettlementRecords
  readonly #terms: SettlementTerms
  readonly #discrepancies: Discrepancies
  /** Heads of batches whose `BatchSettled` has not come yet, and the settler's part of what they credited. */
  readonly #open = new Map<bigint, { readonly heads: ReplayedHead[]; settler: bigint }>()
  /** The head that was skipped last because of another settler's turn: the next event is that its root settled all the same. */
  #exclusive = ''

  constructor(records: SettlementRecords, terms: SettlementTerms, discrepancies: Discrepancies) {
    this.#records = records
    this.#terms = terms
    this.#discrepancies = discrepancies
  }

  /** Answers the batch that the event closed, if it did, and its heads. */
  apply(
    event: SettlementEvent,
  ): { readonly batch: ReplayedBatch; readonly heads: readonly ReplayedHead[] } | undefined {
    switch (event.eventName) {
      case 'HeadSettled':
        this.#settleHead(event)
        break
      case 'HeadSkipped':
        if (event.args.reason === SETTLER_EXCLUSIVE) this.#exclusive = `${event.args.enclave} ${event.args.size}`
        break
      case 'BatchSettled':
        return this.#closeBatch(event)
      case 'ClearingSettled':
        this.#clear(event)
        break
      case 'Credited':
        this.#credit(event)
        break
      case 'SettlerNamed':
        settlerOf(this.#records, event.args.settler)
        break
      case 'ThawStarted':
        this.#thaw(event)
        break
      case 'Withdrawn':
        this.#withdraw(event)
        break
      case 'Insured':
        this.#records.insured += event.args.amount
        break
      case 'Exited':
        keysetOf(this.#records, event.args.keyset).exited += event.args.amount
        break
      case 'UnmatchedSwept':
        this.#sweep(event)
        break
    }
    return undefined
  }

  /** To be called at the end of blocks: answers heads whose batch was never said to be settled. */
  endBlock(): readonly ReplayedHead[] {
    const orphans: ReplayedHead[] = []
    for (const [batch, { heads }] of this.#open) {
      orphans.push(...heads)
      const found = `${heads.length} heads without it`
      this.#discrepancies.add({
        kind: 'BATCH',
        what: 'heads settled in a batch that no event closes',
        where: { batch, ...(heads[0] === undefined ? {} : { block: heads[0].block }) },
        expected: 'a BatchSettled event',
        found,
      })
    }
    this.#open.clear()
    return orphans
  }

  #settleHead({ args, blockNumber: block }: EventOf<'HeadSettled'>): void {
    const { batch, size, root, fees } = args
    const enclave = lowerHex(args.enclave)
    const open = this.#open.get(batch) ?? { heads: [], settler: 0n }
    this.#open.set(batch, open)
    open.heads.push({ enclave, size, root, batch, block })
    const waits = this.#exclusive === `${args.enclave} ${size}`
    this.#exclusive = ''
    const account = accountOf(this.#records, enclave)
    if (fees === 0n) {
      if (account.earned === 0n && size > account.freeSize) account.freeSize = size
      return
    }
    // A head without earnings before it cannot have been an older one: that would have been a contradiction.
    const isNewer = account.earned === 0n || size > account.size
    if (waits || !isNewer) return
    if (fees < account.earned) {
      const found = `${fees} at size ${size}`
      const expected = `at least ${account.earned}`
      const what = 'fees of a larger log are smaller'
      this.#discrepancies.add({ kind: 'ACCOUNT', what, where: { enclave, batch, block }, expected, found })
      return
    }
    account.size = size
    account.earned = fees
    const agreed = smaller(account.earned, account.cleared)
    if (agreed <= account.credited) return
    open.settler += this.#settlerGrowth(account.credited, agreed)
    account.credited = agreed
  }

  #closeBatch({ args, blockNumber: block }: EventOf<'BatchSettled'>): ReturnType<SettlementReplay['apply']> {
    const { batch, root, heads: count, settler } = args
    const { heads, settler: fees } = this.#open.get(batch) ?? { heads: [], settler: 0n }
    this.#open.delete(batch)
    const next = this.#records.batches + 1n
    if (batch !== next) {
      const [expected, found] = [`batch ${next}`, `batch ${batch}`]
      const what = 'batches do not follow each other'
      this.#discrepancies.add({ kind: 'BATCH', what, where: { batch: next, block }, expected, found })
    }
    if (batch > this.#records.batches) this.#records.batches = batch
    settlerOf(this.#records, settler).earnedAtLeast += fees
    const where = { batch, block }
    if (BigInt(heads.length) !== count) {
      this.#discrepancies.compare('BATCH', 'number of heads in the batch', where, count, BigInt(heads.length))
    } else {
      this.#discrepancies.compare('BATCH', 'batch root recomputed from its heads', where, root, rootOrZero(heads))
    }
    return { batch: { batch, root, block }, heads }
  }

  #clear({ args, blockNumber: block }: EventOf<'ClearingSettled'>): void {
    const { keyset, issued, captured, enclaves } = args
    const totals = keysetOf(this.#records, keyset)
    // Totals are cumulative: of two clearings the larger ones hold.
    if (issued > totals.issued) totals.issued = issued
    if (captured > totals.claimed) totals.claimed = captured
    if (totals.claimed + totals.exited > totals.issued) {
      const expected = `at most ${totals.issued}, what was issued`
      const found = `${totals.claimed} captured and ${totals.exited} exited`
      const what = 'captured and exited more than was issued'
      this.#discrepancies.add({ kind: 'BOUND', what, where: { keyset, block }, expected, found })
    }
    let left = totals.claimed - totals.cleared
    for (const { enclave: given, captured: units } of enclaves) {
      const enclave = lowerHex(given)
      const key = `${keyset}/${enclave}`
      const added = units - (this.#records.cleared[key] ?? 0n)
      // A line that says nothing new, or more than the issuer claims in all.
      if (added <= 0n || added > left) continue
      left -= added
      this.#records.cleared[key] = units
      accountOf(this.#records, enclave).cleared += added
    }
    totals.cleared = totals.claimed - left
  }

  #credit({ args, blockNumber: block }: EventOf<'Credited'>): void {
    const enclave = lowerHex(args.enclave)
    const account = accountOf(this.#records, enclave)
    const agreed = smaller(account.earned, account.cleared)
    this.#discrepancies.compare('ACCOUNT', 'credited', { enclave, block }, agreed, args.credited)
    if (args.credited <= account.credited) return
    this.#records.settlersUnnamed += this.#settlerGrowth(account.credited, args.credited)
    account.credited = args.credited
  }

  #thaw({ args, blockNumber: block }: EventOf<'ThawStarted'>): void {
    const { amount, readyAt } = args
    if (args.enclave === NO_ENCLAVE) {
      const settler = settlerOf(this.#records, args.account)
      settler.thawing = lowerHex(args.account) === this.#terms.protocol ? settler.thawing + amount : amount
      settler.readyAt = readyAt
      return
    }
    const enclave = lowerHex(args.enclave)
    const account = accountOf(this.#records, enclave)
    const due = splitFees(account.credited, this.#terms).operator - account.drawn
    this.#discrepancies.compare('PAYOUT', 'what begins to thaw', { enclave, block }, due, amount)
    Object.assign(account, { thawing: amount, readyAt })
  }

  #withdraw({ args, blockNumber: block }: EventOf<'Withdrawn'>): void {
    const { amount } = args
    const to = lowerHex(args.account)
    this.#records.withdrawn[to] = (this.#records.withdrawn[to] ?? 0n) + amount
    const isSettler = args.enclave === NO_ENCLAVE
    const enclave = lowerHex(args.enclave)
    const record = isSettler ? settlerOf(this.#records, to) : accountOf(this.#records, enclave)
    const where = isSettler ? { account: to, block } : { enclave, block }
    const isAmbiguous = isSettler && to === this.#terms.protocol && amount <= record.thawing
    const due = isAmbiguous ? amount : record.thawing
    this.#discrepancies.compare('PAYOUT', 'drawn at once', where, due, amount)
    record.drawn += amount
    record.thawing -= due
  }

  #sweep({ args, blockNumber: block }: EventOf<'UnmatchedSwept'>): void {
    const { unmatched, forfeited } = args
    const enclave = lowerHex(args.enclave)
    const account = accountOf(this.#records, enclave)
    const due = account.cleared - account.credited - account.swept
    this.#discrepancies.compare('SWEPT', 'unmatched units swept', { enclave, block }, due, unmatched)
    account.swept += unmatched
    this.#records.swept += unmatched + forfeited
    if (forfeited === 0n) return
    const share = splitFees(account.credited, this.#terms).operator
    const lost = share - account.drawn
    this.#discrepancies.compare('SWEPT', 'units forfeited', { enclave, block }, lost, forfeited)
    account.drawn = share
    account.thawing = 0n
  }

  #settlerGrowth(before: bigint, after: bigint): bigint {
    return splitFees(after, this.#terms).settler - splitFees(before, this.#terms).settler
  }
}

type EventOf<Name extends SettlementEvent['eventName']> = Extract<SettlementEvent, { readonly eventName: Name }>

/** An empty batch has no root; what the contract stored for it is shown beside zero. */
function rootOrZero(heads: readonly ReplayedHead[]): Hex {
  return heads.length === 0 ? `0x${'00'.repeat(32)}` : batchRootOf(heads)
}
