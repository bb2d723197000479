/**
 * Settlement as docs/spec.md sections 4 and 9 and contracts/interfaces/IReceiptSettlement.sol tell it: plain maps, no packing, everything summed up anew. Slow
 * and obvious, to be compared with the contract after every call. Knows nothing of hashes and signatures: a head says who signed it. @module
 */

/** Names, not addresses: 'gateway 0', 'issuer 1', 'operator', 'settler'. */
export type Name = string

export type PlainHead = {
  readonly enclave: Name
  /** Whose key signed it. */
  readonly signer: Name
  readonly kind: 'log' | 'earnings'
  readonly size: bigint
  /** Which of several possible logs it states. */
  readonly root: number
  readonly fees: bigint
}

export type PlainClearing = {
  readonly keyset: Name
  readonly signer: Name
  readonly issued: bigint
  readonly captured: bigint
  readonly lines: readonly { readonly enclave: Name; readonly captured: bigint }[]
}

export type PlainCall = { readonly sender: Name } & (
  | { readonly kind: 'settle'; readonly heads: readonly PlainHead[]; readonly clearings: readonly PlainClearing[] }
  | { readonly kind: 'credit' | 'thaw' | 'withdraw' | 'sweepUnmatched' | 'retire'; readonly enclave: Name }
  | { readonly kind: 'thawSettler' | 'withdrawSettler' | 'thawProtocol' | 'withdrawProtocol' }
  | {
      readonly kind: 'nameSettler'
      readonly enclave: Name
      readonly settler: Name | undefined
      readonly seconds: bigint
    }
  | { readonly kind: 'reportContradiction'; readonly a: PlainHead; readonly b: PlainHead }
  | { readonly kind: 'deposit'; readonly keyset: Name; readonly units: bigint }
  | { readonly kind: 'insure'; readonly units: bigint }
)

/** What came of a call: the name of the error it is refused with, or what of it was skipped and why, in order. */
export type PlainAnswer = { readonly error: string } | { readonly skipped: readonly string[] }

export type Terms = { readonly protocolBps: bigint; readonly settlerBps: bigint; readonly thawSeconds: bigint }

type Enclave = {
  readonly role: 'gateway' | 'issuer'
  endsAt: bigint
  isCompromised: boolean
  size: bigint
  earned: bigint
  credited: bigint
  swept: bigint
  forfeited: bigint
  settler: { name: Name | undefined; seconds: bigint; lastPaidAt: bigint } | undefined
  readonly payout: Payout
}

type Keyset = {
  readonly writer: Name
  readonly signUntil: bigint
  deposited: bigint
  issued: bigint
  claimed: bigint
  readonly lines: Map<Name, bigint>
}
type Payout = { drawn: bigint; thawing: bigint; readyAt: bigint }

export type PlainState = {
  readonly enclaves: Map<Name, Enclave>
  readonly keysets: Map<Name, Keyset>
  readonly settlerEarned: Map<Name, bigint>
  readonly settlerPayouts: Map<Name, Payout>
  readonly protocolPayout: Payout
  /** What the vault has paid to whom. */
  readonly paid: Map<Name, bigint>
  protocolEarned: bigint
  insurance: bigint
  batches: bigint
  /** What the vault holds. */
  held: bigint
}

const GRACE_SECONDS = 3n * 86_400n
const EXCLUSIVE_SECONDS_MAX = 1_800n
const SIZE_MAX = 2n ** 40n - 1n

/** A refusal: nothing of the call happened. */
class Refused extends Error {}

export class PlainSettlement {
  readonly #terms: Terms
  readonly #operator: Name
  /** Replaced as a whole by what it was before a call that is refused. */
  state: PlainState = {
    enclaves: new Map(),
    keysets: new Map(),
    settlerEarned: new Map(),
    settlerPayouts: new Map(),
    protocolPayout: { drawn: 0n, thawing: 0n, readyAt: 0n },
    paid: new Map(),
    protocolEarned: 0n,
    insurance: 0n,
    batches: 0n,
    held: 0n,
  }

  constructor(terms: Terms, operator: Name) {
    this.#terms = terms
    this.#operator = operator
  }

  addEnclave(name: Name, role: Enclave['role'], endsAt: bigint): void {
    const nothing = { size: 0n, earned: 0n, credited: 0n, swept: 0n, forfeited: 0n }
    const payout = { drawn: 0n, thawing: 0n, readyAt: 0n }
    this.state.enclaves.set(name, { role, endsAt, isCompromised: false, ...nothing, settler: undefined, payout })
  }

  /** Until `signUntil` deposits become credits of it. */
  addKeyset(name: Name, writer: Name, signUntil: bigint): void {
    this.state.keysets.set(name, { writer, signUntil, deposited: 0n, issued: 0n, claimed: 0n, lines: new Map() })
  }

  /** Makes the call at `now`, seconds since the epoch. */
  call(call: PlainCall, now: bigint): PlainAnswer {
    const before = structuredClone(this.state)
    try {
      return { skipped: this.#make(call, now) }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.state = before
      return { error: error.message }
    }
  }

  /** 0 unknown, 1 active, 2 retired, 3 closed, 4 compromised. */
  stateOf(name: Name, now: bigint): number {
    const enclave = this.state.enclaves.get(name)
    if (enclave === undefined) return 0
    if (enclave.isCompromised) return 4
    if (now < enclave.endsAt) return 1
    return now < enclave.endsAt + GRACE_SECONDS ? 2 : 3
  }

  /** What all keysets cleared for an enclave. */
  clearedOf(name: Name): bigint {
    return sum([...this.state.keysets.values()].map(({ lines }) => lines.get(name) ?? 0n))
  }

  clearedIn({ lines }: Keyset): bigint {
    return sum([...lines.values()])
  }

  /** What the operator has yet to draw: its part of what is credited, without what it drew and what was forfeited. */
  dueTo(name: Name): bigint {
    const { credited, forfeited, payout } = this.#enclave(name)
    return credited - this.#sharesOf(credited).both - forfeited - payout.drawn
  }

  /** What somebody has yet to draw as a settler. */
  dueToSettler(name: Name): bigint {
    return (this.state.settlerEarned.get(name) ?? 0n) - (this.state.settlerPayouts.get(name)?.drawn ?? 0n)
  }

  #make(call: PlainCall, now: bigint): string[] {
    switch (call.kind) {
      case 'settle': {
        // Clearings first, so that a head finds what was cleared with it.
        const skipped = call.clearings.flatMap((clearing) => this.#clear(clearing, now))
        const reasons = call.heads.map((head) => this.#settleHead(head, call.sender, now))
        if (reasons.some((reason) => reason === 'None' || reason === 'SettlerExclusive')) this.state.batches += 1n
        return [...skipped, ...reasons.filter((reason) => reason !== 'None').map((reason) => `head ${reason}`)]
      }
      case 'credit':
        this.#credit(call.enclave, call.sender, now)
        return []
      case 'thaw':
        this.#requireUncompromised(call.enclave)
        this.#credit(call.enclave, call.sender, now)
        this.#startThaw(this.#enclave(call.enclave).payout, this.dueTo(call.enclave), now)
        return []
      case 'withdraw':
        this.#requireUncompromised(call.enclave)
        this.#draw(this.#enclave(call.enclave).payout, this.#operator, now)
        return []
      case 'thawSettler':
        this.#startThaw(this.#settlerPayout(call.sender), this.dueToSettler(call.sender), now)
        return []
      case 'withdrawSettler':
        this.#draw(this.#settlerPayout(call.sender), call.sender, now)
        return []
      case 'thawProtocol':
        this.#startThaw(this.state.protocolPayout, this.state.protocolEarned - this.state.protocolPayout.drawn, now)
        return []
      case 'withdrawProtocol':
        this.#draw(this.state.protocolPayout, 'protocol', now)
        return []
      case 'nameSettler': {
        if (call.sender !== this.#operator) throw new Refused('SettlementNotOperator')
        if (call.seconds > EXCLUSIVE_SECONDS_MAX) throw new Refused('SettlementExclusiveTooLong')
        this.#enclave(call.enclave).settler = { name: call.settler, seconds: call.seconds, lastPaidAt: now }
        return []
      }
      case 'sweepUnmatched':
        this.#sweep(call.enclave, call.sender, now)
        return []
      case 'retire': {
        if (call.sender !== this.#operator) throw new Refused('RegistryNotOperator')
        if (this.stateOf(call.enclave, now) !== 1) throw new Refused('RegistryEnclaveEnded')
        this.#enclave(call.enclave).endsAt = now
        return []
      }
      case 'reportContradiction': {
        const { a, b } = call
        if (a.enclave !== b.enclave) throw new Refused('SettlementNoContradiction')
        if (a.signer !== a.enclave || b.signer !== b.enclave) throw new Refused('SettlementHeadNotSigned')
        if (!contradict(a, b)) throw new Refused('SettlementNoContradiction')
        this.#enclave(a.enclave).isCompromised = true
        return []
      }
      case 'deposit':
        if (now >= this.#keyset(call.keyset).signUntil) throw new Refused('VaultPhaseOver')
        this.#keyset(call.keyset).deposited += call.units
        this.state.held += call.units
        return []
      case 'insure':
        this.state.insurance += call.units
        this.state.held += call.units
        return []
    }
  }

  // What is skipped

  #clear(clearing: PlainClearing, now: bigint): string[] {
    const keyset = this.state.keysets.get(clearing.keyset)
    if (keyset === undefined) return ['clearing UnknownKeyset']
    const state = this.stateOf(keyset.writer, now)
    if (state !== 1 && state !== 2) return ['clearing IssuerEnded']
    if (clearing.signer !== keyset.writer) return ['clearing BadSignature']
    // Nothing that was said once can be taken back: the larger counts.
    const issued = max(clearing.issued, keyset.issued)
    const claimed = max(clearing.captured, keyset.claimed)
    if (clearing.captured > clearing.issued || clearing.issued > keyset.deposited || claimed > issued) {
      return ['clearing OutOfBounds']
    }
    const skipped: string[] = []
    for (const { enclave, captured } of clearing.lines) {
      const before = keyset.lines.get(enclave) ?? 0n
      if (captured <= before || this.clearedIn(keyset) + captured - before > claimed) skipped.push('clearing StaleLine')
      else keyset.lines.set(enclave, captured)
    }
    keyset.issued = issued
    keyset.claimed = claimed
    return skipped
  }

  #settleHead(head: PlainHead, sender: Name, now: bigint): string {
    const enclave = this.state.enclaves.get(head.enclave)
    if (enclave?.role !== 'gateway') return 'UnknownEnclave'
    const state = this.stateOf(head.enclave, now)
    if (state !== 1 && state !== 2) return 'EnclaveEnded'
    if (head.size === 0n || head.size > SIZE_MAX) return 'SizeOutOfRange'
    if (head.signer !== head.enclave) return 'BadSignature'
    // A log head moves nothing, and an older earnings head neither.
    if (head.kind === 'log') return 'None'
    if (head.size === enclave.size) return head.fees === enclave.earned ? 'Duplicate' : 'Contradiction'
    if (head.size < enclave.size) return head.fees > enclave.earned ? 'Contradiction' : 'None'
    if (head.fees < enclave.earned) return 'Contradiction'
    if (!this.#mayBePaid(enclave, sender, now)) return 'SettlerExclusive'
    enclave.size = head.size
    enclave.earned = head.fees
    this.#creditAgreed(head.enclave, sender)
    return 'None'
  }

  // Who gets what

  /** Another than the named settler is paid only when its time is over; whoever is paid begins it anew. */
  #mayBePaid({ settler }: Enclave, sender: Name, now: bigint): boolean {
    if (settler?.name === undefined) return true
    if (sender !== settler.name && now < settler.lastPaidAt + settler.seconds) return false
    settler.lastPaidAt = now
    return true
  }

  #credit(name: Name, sender: Name, now: bigint): void {
    const enclave = this.#enclave(name)
    const agreed = min(enclave.earned, this.clearedOf(name))
    if (enclave.isCompromised || agreed <= enclave.credited) return
    // Whoever calls, the named settler is paid within its time.
    const settler = this.#mayBePaid(enclave, sender, now) ? sender : enclave.settler?.name
    this.#creditAgreed(name, settler ?? sender)
  }

  #creditAgreed(name: Name, sender: Name): void {
    const enclave = this.#enclave(name)
    const before = this.#sharesOf(enclave.credited)
    enclave.credited = min(enclave.earned, this.clearedOf(name))
    const after = this.#sharesOf(enclave.credited)
    this.state.protocolEarned += after.protocol - before.protocol
    const earned = after.settler - before.settler
    this.state.settlerEarned.set(sender, (this.state.settlerEarned.get(sender) ?? 0n) + earned)
  }

  /** Of a cumulative amount: both shares together rounded up, the settler's part of them down. */
  #sharesOf(amount: bigint): { readonly both: bigint; readonly protocol: bigint; readonly settler: bigint } {
    const { protocolBps, settlerBps } = this.#terms
    const bps = protocolBps + settlerBps
    const both = (amount * bps + 9_999n) / 10_000n
    const settler = (both * settlerBps) / bps
    return { both, protocol: both - settler, settler }
  }

  #sweep(name: Name, sender: Name, now: bigint): void {
    const state = this.stateOf(name, now)
    if (state !== 3 && state !== 4) throw new Refused('SettlementEnclaveNotEnded')
    this.#credit(name, sender, now)
    const enclave = this.#enclave(name)
    const unmatched = this.clearedOf(name) - enclave.credited - enclave.swept
    const forfeited = enclave.isCompromised ? this.dueTo(name) : 0n
    enclave.swept += unmatched
    enclave.forfeited += forfeited
    if (enclave.isCompromised) enclave.payout.thawing = 0n
    this.state.insurance += unmatched + forfeited
  }

  #startThaw(payout: Payout, due: bigint, now: bigint): void {
    if (payout.thawing !== 0n) throw new Refused('SettlementStillThawing')
    if (due === 0n) throw new Refused('SettlementNothingToThaw')
    payout.thawing = due
    payout.readyAt = now + this.#terms.thawSeconds
  }

  #draw(payout: Payout, to: Name, now: bigint): void {
    if (payout.thawing === 0n) throw new Refused('SettlementNothingToThaw')
    if (now < payout.readyAt) throw new Refused('SettlementStillThawing')
    payout.drawn += payout.thawing
    this.state.paid.set(to, (this.state.paid.get(to) ?? 0n) + payout.thawing)
    this.state.held -= payout.thawing
    payout.thawing = 0n
  }

  // Small things

  #requireUncompromised(name: Name): void {
    if (this.#enclave(name).isCompromised) throw new Refused('SettlementEnclaveCompromised')
  }

  #enclave(name: Name): Enclave {
    const enclave = this.state.enclaves.get(name)
    if (enclave === undefined) throw new Error(`there is no enclave ${name}`)
    return enclave
  }

  #keyset(name: Name): Keyset {
    const keyset = this.state.keysets.get(name)
    if (keyset === undefined) throw new Error(`there is no keyset ${name}`)
    return keyset
  }

  #settlerPayout(name: Name): Payout {
    const payout = this.state.settlerPayouts.get(name) ?? { drawn: 0n, thawing: 0n, readyAt: 0n }
    this.state.settlerPayouts.set(name, payout)
    return payout
  }
}

/** One size with different roots or fees, or a larger log with smaller fees. */
function contradict(a: PlainHead, b: PlainHead): boolean {
  const bothEarn = a.kind === 'earnings' && b.kind === 'earnings'
  if (a.size === b.size) return a.root !== b.root || (bothEarn && a.fees !== b.fees)
  const [smaller, larger] = a.size < b.size ? [a, b] : [b, a]
  return bothEarn && larger.fees < smaller.fees
}

function sum(values: readonly bigint[]): bigint {
  return values.reduce((total, value) => total + value, 0n)
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
