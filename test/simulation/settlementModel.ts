/**
 * What ReceiptSettlement and the registry do to their state, in the plainest words: written from docs/spec.md section 4 and the contract, for
 * heads of small numbers. Money ends here at what an enclave is credited and what its settler gets of it.
 * @module
 */
import { decodeFunctionData, encodeAbiParameters, encodeEventTopics, getAbiItem } from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { isSigner } from '#node/signatures.ts'
import { larger, smaller } from '#protocol/bigints.ts'
import { concatBytes, encodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { hashClearing } from '#protocol/receipt/clearing.ts'
import { type CompactSignature, hashHead, type SettlementDomain } from '#protocol/receipt/head.ts'

export type EnclaveAccount = {
  readonly size: bigint
  readonly earned: bigint
  readonly cleared: bigint
  readonly credited: bigint
}

export type Keyset = {
  readonly writer: Hex
  readonly deposited: bigint
  readonly issued: bigint
  readonly claimed: bigint
  readonly cleared: bigint
}

export type SettlerTerms = { readonly settler: Hex; readonly exclusiveSeconds: bigint; readonly lastPaidAt: bigint }

/** Addresses in lower case. Entries are replaced, never changed, so that a copy of the maps is a copy of the state. */
export type SettlementState = {
  batches: bigint
  readonly roots: Map<bigint, Hex>
  readonly enclaves: Map<Hex, { readonly role: 'gateway' | 'issuer'; readonly isCompromised: boolean }>
  readonly accounts: Map<Hex, EnclaveAccount>
  readonly terms: Map<Hex, SettlerTerms>
  readonly keysets: Map<Hex, Keyset>
  /** What a keyset cleared for an enclave, by both. */
  readonly lines: Map<string, bigint>
}

export type Log = { readonly address: Hex; readonly topics: readonly Hex[]; readonly data: Hex }

/** A call as the contract sees it. `timestamp` in seconds. */
export type Call = { readonly sender: Hex; readonly input: Hex; readonly timestamp: bigint }

/** What a call did. `settlerFee`: what the sender earned by it, in units. */
export type Executed = {
  readonly ok: boolean
  readonly gas: bigint
  readonly logs: readonly Log[]
  readonly settlerFee: bigint
}

const HEADS_MAX = 256
const CLEARINGS_MAX = 16
const REFUSAL = { signature: 1, unknown: 2, ended: 3, size: 4, duplicate: 5, contradiction: 6, exclusive: 7 } as const
const CLEARING_REFUSAL = { signature: 1, keyset: 2, ended: 3, bounds: 4, stale: 5 } as const
const SETTLER_BPS = 100n
const BOTH_BPS = 300n
const NO_ACCOUNT: EnclaveAccount = { size: 0n, earned: 0n, cleared: 0n, credited: 0n }
const NOBODY: Hex = `0x${'00'.repeat(20)}`
/** About what the contract needs. What counts is that it depends on the state, so that an estimate can be too low. */
const GAS = {
  call: 45_000n,
  batch: 48_000n,
  skipped: 9_000n,
  root: 12_000n,
  known: 16_000n,
  first: 36_000n,
  clearing: 30_000n,
  staleLine: 5_000n,
  knownLine: 9_000n,
  firstLine: 28_000n,
  report: 95_000n,
  repeatedReport: 50_000n,
} as const

export function createSettlementState(): SettlementState {
  const maps = { roots: new Map(), enclaves: new Map(), accounts: new Map(), terms: new Map() }
  return { batches: 0n, ...maps, keysets: new Map(), lines: new Map() }
}

export function copySettlementState(state: SettlementState): SettlementState {
  return {
    batches: state.batches,
    roots: new Map(state.roots),
    enclaves: new Map(state.enclaves),
    accounts: new Map(state.accounts),
    terms: new Map(state.terms),
    keysets: new Map(state.keysets),
    lines: new Map(state.lines),
  }
}

/** The contract on one chain. Calls change the state that they are given; one that reverts may leave it half changed, so give it a copy. */
export class SettlementModel {
  readonly domain: SettlementDomain
  /** Signatures that were checked before: the same heads are executed again and again. */
  readonly #checked = new Map<string, boolean>()

  constructor(domain: SettlementDomain) {
    this.domain = domain
  }

  execute(state: SettlementState, call: Call): Executed {
    const tally = new Tally(this.domain.settlement, call.input)
    let isDone = false
    try {
      isDone = this.#dispatch(state, call, tally)
    } catch {
      // No function of the contract, or arguments that it cannot read: it reverts.
    }
    return { ok: isDone, gas: tally.gas, logs: isDone ? tally.logs : [], settlerFee: isDone ? tally.settlerFee : 0n }
  }

  /** Answers whether it did not revert. */
  #dispatch(state: SettlementState, call: Call, tally: Tally): boolean {
    const { functionName, args } = decodeFunctionData({ abi: receiptSettlementAbi, data: call.input })
    switch (functionName) {
      case 'settle': {
        const [heads, clearings] = args
        if (heads.length > HEADS_MAX || clearings.length > CLEARINGS_MAX) return false
        for (const clearing of clearings) this.#settleClearing(state, clearing, tally)
        this.#settleHeads(state, heads, call, tally)
        return true
      }
      case 'reportContradiction': {
        const [a, b] = args
        if (!this.#isSignedPair(a, b) || !contradict(a, b)) return false
        return this.#end(state, lower(a.enclave), call.sender, tally)
      }
      case 'reportFork': {
        const [a, b, level, index, nodes, paths] = args
        if (!this.#isSignedPair(a, b) || nodes[0] === nodes[1]) return false
        const isShown = [a, b].every((head, i) => isNodeOf(head, level, index, nodes[i] ?? '0x', paths[i] ?? []))
        return isShown && this.#end(state, lower(a.enclave), call.sender, tally)
      }
      default:
        return false
    }
  }

  // Heads

  #settleHeads(state: SettlementState, heads: readonly Head[], call: Call, tally: Tally): void {
    const batch = state.batches + 1n
    const leaves: Uint8Array[] = []
    for (const head of heads) {
      const enclave = lower(head.enclave)
      const refusal = this.#settleHead(state, head, call, tally)
      if (refusal !== 0) {
        tally.emit('HeadSkipped', { enclave: head.enclave }, [head.size, refusal])
        if (refusal !== REFUSAL.exclusive) {
          tally.gas += GAS.skipped
          continue
        }
      }
      leaves.push(
        keccak256(concatBytes(Uint8Array.of(2), fromHex(enclave), encodeUint(head.size, 8), fromHex(head.root))),
      )
      tally.emit('HeadSettled', { enclave: head.enclave }, [
        batch,
        head.size,
        head.root,
        head.kind === 1 ? head.fees : 0n,
      ])
    }
    if (leaves.length === 0) return
    const root = toHex(rootOf(leaves))
    state.batches = batch
    state.roots.set(batch, root)
    tally.gas += GAS.batch
    tally.emit('BatchSettled', { batch, settler: call.sender }, [root, BigInt(leaves.length)])
  }

  #settleHead(state: SettlementState, head: Head, { sender, timestamp }: Call, tally: Tally): number {
    const enclave = lower(head.enclave)
    const entry = state.enclaves.get(enclave)
    if (entry?.role !== 'gateway') return REFUSAL.unknown
    if (entry.isCompromised) return REFUSAL.ended
    if (head.size === 0n || head.size >= 2n ** 40n) return REFUSAL.size
    if (!this.#isSigned(head)) return REFUSAL.signature
    if (head.kind !== 1) {
      tally.gas += GAS.root
      return 0
    }
    const account = state.accounts.get(enclave) ?? NO_ACCOUNT
    if (head.size === account.size) return head.fees === account.earned ? REFUSAL.duplicate : REFUSAL.contradiction
    if (head.size < account.size) {
      tally.gas += GAS.root
      return head.fees > account.earned ? REFUSAL.contradiction : 0
    }
    if (head.fees < account.earned) return REFUSAL.contradiction
    if (!takesTurn(state, enclave, sender, timestamp)) {
      tally.gas += GAS.root
      return REFUSAL.exclusive
    }
    tally.gas += account.size === 0n ? GAS.first : GAS.known
    const agreed = smaller(head.fees, account.cleared)
    tally.settlerFee += settlerPart(agreed) - settlerPart(account.credited)
    state.accounts.set(enclave, { ...account, size: head.size, earned: head.fees, credited: agreed })
    return 0
  }

  #isSigned(head: Head): boolean {
    const enclave = lower(head.enclave)
    const stated = { enclave, size: head.size, root: head.root }
    const digest =
      head.kind === 1
        ? hashHead({ kind: 'earnings', ...stated, fees: head.fees }, this.domain)
        : hashHead({ kind: 'log', ...stated }, this.domain)
    return this.#isSigner(digest, head, enclave)
  }

  #isSigner(digest: Hex, { r, vs }: CompactSignature, signer: Hex): boolean {
    const key = digest + r + vs + signer
    const known = this.#checked.get(key) ?? isSigner(digest, { r, vs }, signer)
    this.#checked.set(key, known)
    return known
  }

  // Clearings

  #settleClearing(state: SettlementState, clearing: Clearing, tally: Tally): void {
    const keyset = state.keysets.get(clearing.keyset)
    tally.gas += GAS.clearing
    const refusal = this.#reviewClearing(state, clearing, keyset)
    if (keyset === undefined || refusal !== 0) {
      tally.emit('ClearingSkipped', { keyset: clearing.keyset, enclave: NOBODY }, [refusal])
      return
    }
    const claimed = larger(clearing.captured, keyset.claimed)
    let left = claimed - keyset.cleared
    for (const { enclave, captured } of clearing.enclaves) {
      const key = `${clearing.keyset} ${lower(enclave)}`
      const before = state.lines.get(key) ?? 0n
      if (captured <= before || captured - before > left) {
        tally.gas += GAS.staleLine
        tally.emit('ClearingSkipped', { keyset: clearing.keyset, enclave }, [CLEARING_REFUSAL.stale])
        continue
      }
      tally.gas += before === 0n ? GAS.firstLine : GAS.knownLine
      left -= captured - before
      state.lines.set(key, captured)
      const account = state.accounts.get(lower(enclave)) ?? NO_ACCOUNT
      state.accounts.set(lower(enclave), { ...account, cleared: account.cleared + captured - before })
    }
    const issued = larger(clearing.issued, keyset.issued)
    state.keysets.set(clearing.keyset, { ...keyset, issued, claimed, cleared: claimed - left })
    const lines = clearing.enclaves.map(({ enclave, captured }) => ({ enclave, captured }))
    tally.emit('ClearingSettled', { keyset: clearing.keyset }, [clearing.issued, clearing.captured, lines])
  }

  #reviewClearing(state: SettlementState, clearing: Clearing, keyset: Keyset | undefined): number {
    if (keyset === undefined) return CLEARING_REFUSAL.keyset
    const writer = state.enclaves.get(keyset.writer)
    if (writer?.role !== 'issuer' || writer.isCompromised) return CLEARING_REFUSAL.ended
    if (!this.#isSigner(hashClearing(clearing, this.domain), clearing, keyset.writer)) return CLEARING_REFUSAL.signature
    const taken = larger(clearing.captured, keyset.claimed)
    const isInBounds =
      clearing.captured <= clearing.issued &&
      clearing.issued <= keyset.deposited &&
      taken <= larger(clearing.issued, keyset.issued) &&
      taken <= keyset.deposited
    return isInBounds ? 0 : CLEARING_REFUSAL.bounds
  }

  // Equivocation

  #isSignedPair(a: Head, b: Head): boolean {
    return lower(a.enclave) === lower(b.enclave) && this.#isSigned(a) && this.#isSigned(b)
  }

  #end(state: SettlementState, enclave: Hex, reporter: Hex, tally: Tally): boolean {
    const entry = state.enclaves.get(enclave)
    if (entry === undefined) return false
    // The contract says so of every report; only the first one ends anything.
    tally.emit('EquivocationProven', { enclave, reporter }, [])
    tally.gas += entry.isCompromised ? GAS.repeatedReport : GAS.report
    state.enclaves.set(enclave, { ...entry, isCompromised: true })
    return true
  }
}

type Arguments = Extract<
  ReturnType<typeof decodeFunctionData<typeof receiptSettlementAbi>>,
  { functionName: 'settle' }
>['args']
type Head = Arguments[0][number]
type Clearing = Arguments[1][number]
type EventName = keyof typeof EVENTS

const EVENTS = {
  BatchSettled: getAbiItem({ abi: receiptSettlementAbi, name: 'BatchSettled' }),
  HeadSettled: getAbiItem({ abi: receiptSettlementAbi, name: 'HeadSettled' }),
  HeadSkipped: getAbiItem({ abi: receiptSettlementAbi, name: 'HeadSkipped' }),
  ClearingSettled: getAbiItem({ abi: receiptSettlementAbi, name: 'ClearingSettled' }),
  ClearingSkipped: getAbiItem({ abi: receiptSettlementAbi, name: 'ClearingSkipped' }),
  EquivocationProven: getAbiItem({ abi: receiptSettlementAbi, name: 'EquivocationProven' }),
} as const

/** What one call adds up. */
class Tally {
  readonly #settlement: Hex
  readonly logs: Log[] = []
  gas: bigint
  settlerFee = 0n

  constructor(settlement: Hex, input: Hex) {
    this.#settlement = settlement
    this.gas = GAS.call + 12n * BigInt(input.length / 2)
  }

  /** `indexed` by name; `data` in the order of the event's other fields. */
  emit(name: EventName, indexed: Record<string, unknown>, data: readonly unknown[]): void {
    const event = EVENTS[name]
    const topics = encodeEventTopics({ abi: [event], eventName: name, args: indexed } as Parameters<
      typeof encodeEventTopics
    >[0])
    const plain = event.inputs.filter((input) => !('indexed' in input && input.indexed))
    this.logs.push({ address: this.#settlement, topics: topics as Hex[], data: encodeAbiParameters(plain, data as []) })
  }
}

function takesTurn(state: SettlementState, enclave: Hex, sender: Hex, timestamp: bigint): boolean {
  const terms = state.terms.get(enclave)
  if (terms === undefined) return true
  if (sender !== terms.settler && timestamp < terms.lastPaidAt + terms.exclusiveSeconds) return false
  state.terms.set(enclave, { ...terms, lastPaidAt: timestamp })
  return true
}

function contradict(a: Head, b: Head): boolean {
  const bothEarn = a.kind === 1 && b.kind === 1
  if (a.size === b.size) return a.root !== b.root || (bothEarn && a.fees !== b.fees)
  return bothEarn && (a.size < b.size ? a.fees > b.fees : b.fees > a.fees)
}

function isNodeOf(head: Head, level: number, index: bigint, node: Hex, path: readonly Hex[]): boolean {
  if (level >= 63 || head.size === 0n || (index + 1n) << BigInt(level) > head.size) return false
  let [fn, sn] = [index, (head.size - 1n) >> BigInt(level)]
  let root = fromHex(node)
  // RFC 9162 section 2.1.3.2.
  for (const sibling of path) {
    if (sn === 0n) return false
    if (fn % 2n === 1n || fn === sn) {
      root = hashPair(1, fromHex(sibling), root)
      while (fn % 2n === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n]
    } else root = hashPair(1, root, fromHex(sibling))
    ;[fn, sn] = [fn >> 1n, sn >> 1n]
  }
  return sn === 0n && toHex(root) === head.root
}

/** Root over a batch's leaves: an odd last node moves up as it is. */
function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  let row = leaves
  while (row.length > 1) {
    const above: Uint8Array[] = []
    for (let i = 0; i < row.length; i += 2) {
      const [left, right] = row.slice(i, i + 2)
      if (left !== undefined) above.push(right === undefined ? left : hashPair(3, left, right))
    }
    row = above
  }
  return row[0] ?? new Uint8Array(32)
}

function hashPair(tag: number, left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(keccak256(concatBytes(Uint8Array.of(tag), left, right)))
}

/** Of the cumulative amount: both shares together are rounded up, the settler's part of that down. */
function settlerPart(credited: bigint): bigint {
  const both = (credited * BOTH_BPS + 9_999n) / 10_000n
  return (both * SETTLER_BPS) / BOTH_BPS
}

function lower(address: Hex): Hex {
  return address.toLowerCase() as Hex
}
