/**
 * Reads an issuer's logs again and makes of them the state that its last writer left.
 *
 * Nothing of the database is believed: every entry must follow from the ones before it, every log must have the root that its enclave
 * signed, and every log must say rightly what it went on from. What this cannot see is a database that is whole and old: for that the
 * witnesses are asked (succession.ts).
 * @module
 */
import { AppError } from '#node/appError.ts'
import { equalBytes, type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS } from '#protocol/credits/amounts.ts'
import { G1_BYTES } from '#protocol/credits/points.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { isSignedByEnclave, type SettlementDomain } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { type AdoptEntry, decodeEntry, type Entry, EntryError, encodeEntry, entryLeaf } from './entry.ts'
import { BEFORE, hashState, Ledger } from './ledger.ts'
import type { IssuerStore, StoredLog } from './store.ts'

export type Recovered = {
  readonly ledgers: Map<Hex, Ledger>
  /** Blanks of the open payments, 48 bytes each. */
  readonly blanks: Map<Hex, readonly Uint8Array[]>
  /** All logs, oldest first. */
  readonly logs: readonly RecoveredLog[]
  /** What the next log begins with, unless it is the first that has entries. */
  readonly adoption: AdoptEntry | undefined
}

/** `didWrite`: it holds more than the adoption it began with. */
export type RecoveredLog = StoredLog & { readonly didWrite: boolean }

const ENTRIES_AT_ONCE = 16_384

/** Reads everything. Throws `AppError` (`DATABASE_FAILED`) when the database contradicts itself or what was signed. */
export async function recover(store: IssuerStore, domain: SettlementDomain): Promise<Recovered> {
  const stored = await store.readLogs()
  const ledgers = new Map<Hex, Ledger>()
  const logs: RecoveredLog[] = []
  for (const log of stored) {
    const { head } = log
    if (log.size === 0) {
      logs.push({ ...log, didWrite: false })
      continue
    }
    if (head === undefined) throw broken(`log ${log.log} has entries and no head over them`)
    const { signature, ...stated } = head
    if (!isSignedByEnclave({ head: { kind: 'earnings', ...stated }, signature }, domain)) {
      throw broken(`the head of log ${log.log} was not signed by its enclave for this chain`)
    }
    const didWrite = await replay(store, ledgers, { ...log, head }, adoptionOf(logs, ledgers))
    logs.push({ ...log, didWrite })
  }
  return {
    ledgers,
    blanks: await readBlanks(store, ledgers),
    logs,
    adoption: adoptionOf(logs, ledgers),
  }
}

/** Takes in the entries of one log. */
async function replay(
  store: IssuerStore,
  ledgers: Map<Hex, Ledger>,
  { log, size, head }: StoredLog & { readonly head: EarningsHeadMessage },
  adoption: AdoptEntry | undefined,
): Promise<boolean> {
  let edge: LogEdge = EMPTY_EDGE
  while (edge.size < size) {
    const batch = await store.readEntries(log, edge.size, Math.min(ENTRIES_AT_ONCE, size - edge.size))
    if (batch.length === 0) throw broken(`log ${log} ends at ${edge.size}, before its head`)
    for (const encoded of batch) {
      const entry = readEntry(encoded, log, edge.size)
      if (edge.size === 0 && adoption !== undefined) checkAdoption(entry, adoption, log)
      else takeIn(ledgers, entry, log, edge.size)
      edge = appendLeaf(edge, entryLeaf(encoded))
    }
  }
  if (toHex(rootOfEdge(edge)) !== head.root) throw broken(`log ${log} does not have the root that its enclave signed`)
  const captured = [...ledgers.values()].reduce((sum, { totals }) => sum + totals.captured, 0n)
  if (captured !== head.fees) throw broken(`log ${log} does not have the total that its enclave signed`)
  return size > (adoption === undefined ? 0 : 1)
}

function readEntry(encoded: Uint8Array, log: number, position: number): Entry {
  try {
    return decodeEntry(encoded)
  } catch (cause) {
    if (!(cause instanceof EntryError)) throw cause
    throw broken(`entry ${position} of log ${log} is malformed`, cause)
  }
}

function checkAdoption(entry: Entry, adoption: AdoptEntry, log: number): void {
  if (!equalBytes(encodeEntry(entry), encodeEntry(adoption))) {
    throw broken(`log ${log} does not go on where the one before it ends`)
  }
}

function takeIn(ledgers: Map<Hex, Ledger>, entry: Entry, log: number, position: number): void {
  if (entry.type === 'adopt') throw broken(`entry ${position} of log ${log} adopts another log in the middle`)
  const ledger = ledgers.get(entry.keyset) ?? new Ledger(entry.keyset)
  ledgers.set(entry.keyset, ledger)
  const decision = ledger.decide(entry)
  if (decision.kind !== 'append' || !equalBytes(encodeEntry(decision.entry), encodeEntry(entry))) {
    throw broken(`entry ${position} of log ${log} does not follow from what is before it`)
  }
  ledger.apply(entry, BEFORE)
}

function adoptionOf(logs: readonly RecoveredLog[], ledgers: Map<Hex, Ledger>): AdoptEntry | undefined {
  const last = logs.findLast(({ size }) => size > 0)
  if (last?.head === undefined) return undefined
  const { enclave, head } = last
  return { type: 'adopt', enclave, size: head.size, root: head.root, state: hashState(ledgers.values()) }
}

/** Without its blanks an open payment could not be captured: they must be there, and be what was reserved. */
async function readBlanks(
  store: IssuerStore,
  ledgers: ReadonlyMap<Hex, Ledger>,
): Promise<Map<Hex, readonly Uint8Array[]>> {
  const stored = new Map((await store.readOpenReserves()).map(({ payment, blanks }) => [payment, blanks]))
  const blanks = new Map<Hex, readonly Uint8Array[]>()
  for (const ledger of ledgers.values()) {
    for (const id of ledger.openPayments) {
      const payment = ledger.payment(id)
      const bytes = stored.get(id)
      const isWhole = bytes?.length === BLANK_SLOTS * G1_BYTES
      if (!isWhole || payment?.state !== 'open' || toHex(keccak256(bytes)) !== payment.blanks) {
        throw broken(`the blanks of open payment ${id} are missing or not its own`)
      }
      blanks.set(id, splitBlanks(bytes))
    }
  }
  return blanks
}

function splitBlanks(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / G1_BYTES }, (_, i) => bytes.slice(i * G1_BYTES, (i + 1) * G1_BYTES))
}

function broken(message: string, cause?: unknown): AppError {
  return new AppError('DATABASE_FAILED', `the issuer's database cannot be used: ${message}. Restore it whole`, {
    cause,
  })
}
