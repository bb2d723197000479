/**
 * The durable outbox: what an enclave has logged and not every aggregator holds yet. One folder an enclave:
 *
 *   leaves.bin       the log's leaves from position 0, 32 bytes each, appended and synced
 *   head.json        the newest earnings head whose leaves are all in leaves.bin, replaced atomically
 *   heads.json       older heads, one for each half of a delivery: an aggregator that lost more than one delivery holds gets the log in parts
 *   delivered.json   per aggregator how far it has acknowledged; a cache: the aggregator's own word decides
 *
 * A crash between any two steps loses nothing: leaves are acknowledged to the enclave only after they are synced, a torn last leaf
 * is cut off at the next start, and a delivery that was not noted is repeated and answered the same.
 * @module
 */
import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { syncFolder } from '#node/syncFolder.ts'
import type { Hex } from '#protocol/bytes.ts'
import { type EarningsHeadMessage, EarningsHeadSchema } from '#protocol/wire/agentApi.ts'
import { DELIVERY_LEAVES_MAX } from '#protocol/wire/aggregatorApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'

const LEAF_BYTES = 32
const HeadsSchema = v.array(EarningsHeadSchema)
const DeliveredSchema = v.record(v.string(), v.number())

export class EnclaveOutbox {
  readonly enclave: Hex
  readonly #folder: string
  readonly #leaves: number
  #size: number
  #head: EarningsHeadMessage | undefined
  /** Oldest first. */
  #older: readonly EarningsHeadMessage[]
  readonly #leavesMax: number
  #delivered: Record<string, number>

  /** `leavesMax`: leaves of one delivery. */
  constructor(folder: string, enclave: Hex, leavesMax: number = DELIVERY_LEAVES_MAX) {
    this.enclave = enclave
    this.#leavesMax = leavesMax
    this.#folder = join(folder, enclave)
    mkdirSync(this.#folder, { recursive: true })
    this.#leaves = openSync(join(this.#folder, 'leaves.bin'), constants.O_RDWR | constants.O_CREAT)
    syncFolder(this.#folder)
    const { size } = statSync(join(this.#folder, 'leaves.bin'))
    this.#size = Math.floor(size / LEAF_BYTES)
    if (size % LEAF_BYTES !== 0) ftruncateSync(this.#leaves, this.#size * LEAF_BYTES)
    this.#head = this.#read('head.json', (text) => parseJson(EarningsHeadSchema, text, 'stored head'))
    this.#older = this.#read('heads.json', (text) => parseJson(HeadsSchema, text, 'stored heads')) ?? []
    this.#delivered = this.#read('delivered.json', (text) => parseJson(DeliveredSchema, text, 'delivery marks')) ?? {}
  }

  /** Leaves stored durably. */
  get size(): number {
    return this.#size
  }

  /** The newest head whose leaves are all here. */
  get head(): EarningsHeadMessage | undefined {
    return this.#head
  }

  /**
   * Appends leaves that begin at `from`, and notes `head` once its leaves are all here. Durable when it returns. Throws `RangeError` for
   * leaves that leave a gap or are not whole, and for the head of another enclave: the gateway may have restarted in between.
   */
  store(from: number, leaves: Uint8Array, head: EarningsHeadMessage | undefined): void {
    if (head !== undefined && head.enclave !== this.enclave) throw new RangeError('expected a head of this enclave')
    if (from > this.#size) throw new RangeError(`expected leaves from ${this.#size}, got ${from}`)
    if (leaves.length % LEAF_BYTES !== 0) throw new RangeError(`expected leaves of ${LEAF_BYTES} bytes each`)
    const fresh = leaves.subarray((this.#size - from) * LEAF_BYTES)
    if (fresh.length > 0) {
      this.#write(fresh, this.#size * LEAF_BYTES)
      fsyncSync(this.#leaves)
      this.#size += fresh.length / LEAF_BYTES
    }
    const isNewer = head !== undefined && (this.#head === undefined || head.size > this.#head.size)
    if (isNewer && head.size <= BigInt(this.#size)) {
      // Kept before it is the newest one: a crash in between leaves one too many, never a gap.
      const lastKept = this.#older.at(-1)?.size ?? 0n
      if (head.size - lastKept >= BigInt(this.#leavesMax / 2)) {
        const older = [...this.#older, head]
        this.#replace('heads.json', toJson(older))
        this.#older = older
      }
      this.#replace('head.json', toJson(head))
      this.#head = head
    }
  }

  /**
   * The head to deliver to an aggregator that holds `from` leaves: the newest one that a delivery reaches. Undefined when there is nothing to deliver, or
   * no head was kept that is near enough.
   */
  headFrom(from: number): EarningsHeadMessage | undefined {
    const isReached = ({ size }: EarningsHeadMessage) => size > BigInt(from) && size <= BigInt(from + this.#leavesMax)
    return [...this.#older, ...(this.#head === undefined ? [] : [this.#head])].findLast(isReached)
  }

  /** The leaves from `from` up to `to`. */
  read(from: number, to: number): Uint8Array {
    const bytes = new Uint8Array((to - from) * LEAF_BYTES)
    readSync(this.#leaves, bytes, 0, bytes.length, from * LEAF_BYTES)
    return bytes
  }

  deliveredTo(aggregator: string): number {
    return this.#delivered[aggregator] ?? 0
  }

  noteDelivered(aggregator: string, size: number): void {
    this.#delivered = { ...this.#delivered, [aggregator]: size }
    this.#replace('delivered.json', JSON.stringify(this.#delivered))
  }

  close(): void {
    closeSync(this.#leaves)
  }

  /** Writes at a position, not at the file's end: what a full disk left of an earlier try is written over. */
  #write(bytes: Uint8Array, position: number): void {
    let written = 0
    while (written < bytes.length) {
      written += writeSync(this.#leaves, bytes, written, bytes.length - written, position + written)
    }
  }

  #read<T>(name: string, parse: (text: string) => T): T | undefined {
    let text: string
    try {
      text = readFileSync(join(this.#folder, name), 'utf8')
    } catch {
      // Not written yet.
      return undefined
    }
    return parse(text)
  }

  #replace(name: string, text: string): void {
    const path = join(this.#folder, name)
    const file = openSync(`${path}.new`, 'w')
    writeFileSync(file, text)
    fsyncSync(file)
    closeSync(file)
    renameSync(`${path}.new`, path)
    syncFolder(this.#folder)
  }
}

/** Every enclave that ever had an outbox here: those of earlier boots may still have something to deliver. */
export function openOutboxes(folder: string): Map<Hex, EnclaveOutbox> {
  mkdirSync(folder, { recursive: true })
  const names = readdirSync(folder).filter((name): name is Hex => /^0x[0-9a-f]{40}$/.test(name))
  return new Map(names.map((name) => [name, new EnclaveOutbox(folder, name)]))
}
