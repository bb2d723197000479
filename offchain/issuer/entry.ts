/**
 * What an issuer's log holds: one entry for each deposit answered and each step of a payment. Everything the issuer must remember
 * follows from the entries, in their order.
 *
 *   leaf = keccak256(0x00 || keccak256("Sealpath issuer entry v1") || keccak256(entry))      the tree of receipts (log/tree.ts)
 *
 *   struct Issue   { uint8 type = 1; opaque keyset[32]; opaque deposit[32]; opaque outputs[32]; uint64 units; };
 *   struct Reserve { uint8 type = 2; opaque keyset[32]; opaque payment[32]; opaque gateway[20]; uint64 maximumFee; uint64 expiresAt;
 *                    uint64 latestExpiry; opaque blanks[32]; uint8 count; Input inputs[count]; };
 *   struct Input   { uint8 exponent; opaque spent[32]; };                                   spent = keccak256(t)
 *   struct Renew   { uint8 type = 3; opaque keyset[32]; opaque payment[32]; uint64 expiresAt; };
 *   struct Capture { uint8 type = 4; opaque keyset[32]; opaque payment[32]; uint64 fee; opaque change[32]; };
 *   struct Adopt   { uint8 type = 5; opaque enclave[20]; uint64 size; opaque root[32]; opaque state[32]; };
 *
 * A receipt's leaf begins with the hash of its public half, which is never the hash of that sentence: no entry can pose as a receipt.
 * @module
 */
import {
  concatBytes,
  decodeUint,
  encodeUint,
  encodeUtf8,
  fromHex,
  type Hex,
  joinBytes,
  toHex,
} from '#protocol/bytes.ts'
import { CREDIT_SLOTS, DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'
import { LOG_LEAF_TAG } from '#protocol/log/tree.ts'
import { issuerKeccak } from './issuerKeccak.ts'

/** A deposit was answered. `deposit` is `depositId`, `outputs` the hash that its claim key signed. */
export type IssueEntry = {
  readonly type: 'issue'
  readonly keyset: Hex
  readonly deposit: Hex
  readonly outputs: Hex
  readonly units: bigint
}

/** Credits are spent. Times in seconds; `blanks` is the keccak-256 of all blanks in their order. */
export type ReserveEntry = {
  readonly type: 'reserve'
  readonly keyset: Hex
  readonly payment: Hex
  readonly gateway: Hex
  readonly maximumFee: bigint
  readonly expiresAt: bigint
  readonly latestExpiry: bigint
  readonly blanks: Hex
  readonly inputs: readonly SpentInput[]
}

/** `spent` is the keccak-256 of t: what can be spent once, whatever key signed it. */
export type SpentInput = { readonly exponent: number; readonly spent: Hex }

export type RenewEntry = {
  readonly type: 'renew'
  readonly keyset: Hex
  readonly payment: Hex
  readonly expiresAt: bigint
}

/** `change` is `hashChange` of what was signed for the rest. */
export type CaptureEntry = {
  readonly type: 'capture'
  readonly keyset: Hex
  readonly payment: Hex
  readonly fee: bigint
  readonly change: Hex
}

/** The first entry of a log that goes on where another ended. `state` is `hashState` of all ledgers at its end. */
export type AdoptEntry = {
  readonly type: 'adopt'
  readonly enclave: Hex
  readonly size: bigint
  readonly root: Hex
  readonly state: Hex
}

export type KeysetEntry = IssueEntry | ReserveEntry | RenewEntry | CaptureEntry
export type Entry = KeysetEntry | AdoptEntry

const TYPES = { issue: 1, reserve: 2, renew: 3, capture: 4, adopt: 5 } as const
const ENTRY_KIND = issuerKeccak(encodeUtf8('Sealpath issuer entry v1'))

/** The entry's one encoding. */
export function encodeEntry(entry: Entry): Uint8Array<ArrayBuffer> {
  const type = Uint8Array.of(TYPES[entry.type])
  if (entry.type === 'adopt') {
    return concatBytes(type, fromHex(entry.enclave, 20), uint64(entry.size), hash(entry.root), hash(entry.state))
  }
  const head = concatBytes(type, hash(entry.keyset))
  switch (entry.type) {
    case 'issue':
      return concatBytes(head, hash(entry.deposit), hash(entry.outputs), uint64(entry.units))
    case 'reserve':
      return concatBytes(
        head,
        hash(entry.payment),
        fromHex(entry.gateway, 20),
        ...[entry.maximumFee, entry.expiresAt, entry.latestExpiry].map(uint64),
        hash(entry.blanks),
        Uint8Array.of(entry.inputs.length),
        ...entry.inputs.map(({ exponent, spent }) => concatBytes(Uint8Array.of(exponent), hash(spent))),
      )
    case 'renew':
      return concatBytes(head, hash(entry.payment), uint64(entry.expiresAt))
    case 'capture':
      return concatBytes(head, hash(entry.payment), uint64(entry.fee), hash(entry.change))
  }
}

/** Parses an entry. Throws `EntryError` on every encoding but the one that `encodeEntry` writes. */
export function decodeEntry(bytes: Uint8Array): Entry {
  const reader = new Reader(bytes)
  const type = reader.byte()
  const entry = type === TYPES.adopt ? readAdopt(reader) : readKeysetEntry(type, reader)
  reader.end()
  return entry
}

/** The entry's leaf in the log, 32 bytes. `encoded` is `encodeEntry`'s. */
export function entryLeaf(encoded: Uint8Array): Uint8Array {
  return issuerKeccak(concatBytes(Uint8Array.of(LOG_LEAF_TAG), ENTRY_KIND, issuerKeccak(encoded)))
}

/** What a deposit is called: keccak256(keyset || claimKey). */
export function depositId(keyset: Hex, claimKey: Hex): Hex {
  return toHex(issuerKeccak(concatBytes(hash(keyset), fromHex(claimKey, 20))))
}

/** keccak256 of all blanks (48 bytes each) in their order. */
export function hashBlanks(blanks: readonly Uint8Array[]): Hex {
  return toHex(issuerKeccak(joinBytes(blanks)))
}

/** What was signed for a blank, whose keccak-256 (of its 48 bytes) is `blank`. */
export type ChangeEntry = { readonly blank: Hex; readonly exponent: number; readonly signature: Uint8Array }

/** keccak256 of what was signed: exponent || keccak256(blank) || blind signature, one after the other. */
export function hashChange(change: readonly ChangeEntry[]): Hex {
  const rows = change.map(({ exponent, blank, signature }) =>
    concatBytes(Uint8Array.of(exponent), hash(blank), signature),
  )
  return toHex(issuerKeccak(joinBytes(rows)))
}

function readAdopt(reader: Reader): AdoptEntry {
  return {
    type: 'adopt',
    enclave: reader.hex(20),
    size: reader.uint64(),
    root: reader.hex(32),
    state: reader.hex(32),
  }
}

function readKeysetEntry(type: number, reader: Reader): KeysetEntry {
  const keyset = reader.hex(32)
  switch (type) {
    case TYPES.issue:
      return { type: 'issue', keyset, deposit: reader.hex(32), outputs: reader.hex(32), units: reader.uint64() }
    case TYPES.reserve:
      return {
        type: 'reserve',
        keyset,
        payment: reader.hex(32),
        gateway: reader.hex(20),
        maximumFee: reader.uint64(),
        expiresAt: reader.uint64(),
        latestExpiry: reader.uint64(),
        blanks: reader.hex(32),
        inputs: readInputs(reader),
      }
    case TYPES.renew:
      return { type: 'renew', keyset, payment: reader.hex(32), expiresAt: reader.uint64() }
    case TYPES.capture:
      return { type: 'capture', keyset, payment: reader.hex(32), fee: reader.uint64(), change: reader.hex(32) }
    default:
      throw new EntryError('UNKNOWN_TYPE', 'expected the type of an entry')
  }
}

function readInputs(reader: Reader): SpentInput[] {
  const count = reader.byte()
  if (count === 0 || count > CREDIT_SLOTS) throw new EntryError('BAD_COUNT', `expected 1 to ${CREDIT_SLOTS} inputs`)
  return Array.from({ length: count }, () => {
    const exponent = reader.byte()
    if (exponent >= DENOMINATION_COUNT) throw new EntryError('BAD_EXPONENT', 'expected an exponent below 24')
    return { exponent, spent: reader.hex(32) }
  })
}

function hash(hex: Hex): Uint8Array {
  return fromHex(hex, 32)
}

function uint64(value: bigint): Uint8Array {
  return encodeUint(value, 8)
}

class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  byte(): number {
    return this.#take(1)[0] ?? 0
  }

  hex(length: number): Hex {
    return toHex(this.#take(length))
  }

  uint64(): bigint {
    return decodeUint(this.#take(8))
  }

  end(): void {
    if (this.#offset !== this.#bytes.length) throw new EntryError('WRONG_LENGTH', 'expected the entry to end here')
  }

  #take(length: number): Uint8Array {
    const end = this.#offset + length
    if (end > this.#bytes.length) throw new EntryError('WRONG_LENGTH', 'expected more bytes of the entry')
    const taken = this.#bytes.subarray(this.#offset, end)
    this.#offset = end
    return taken
  }
}

export type EntryErrorCode = 'WRONG_LENGTH' | 'UNKNOWN_TYPE' | 'BAD_COUNT' | 'BAD_EXPONENT'

/** A stored entry that is none: the database was changed behind our back, or our code is wrong. */
export class EntryError extends Error {
  override readonly name = 'EntryError'
  readonly code: EntryErrorCode
  constructor(code: EntryErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
