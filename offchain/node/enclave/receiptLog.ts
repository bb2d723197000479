/**
 * The enclave's log of receipts: append, sign, hand over.
 *
 * Receipts that arrive together are signed by one log head. Earnings heads are made at ticks only, so that nobody reads one
 * neighbour's fee from two of them. The enclave keeps the tree's right edge, and the leaves its operator has not stored yet.
 * @module
 */
import { signDigest } from '#node/signatures.ts'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, pathsFromEdge, rootOfEdge } from '#protocol/log/edge.ts'
import {
  type CompactSignature,
  type EarningsHead,
  hashHead,
  type SettlementDomain,
  type SignedHead,
} from '#protocol/receipt/head.ts'

/** A receipt's place: its index, and the signed head and path that prove it. */
export type IssuedReceipt = {
  readonly index: bigint
  readonly head: { readonly size: bigint; readonly root: Hex; readonly signature: CompactSignature }
  readonly path: readonly Hex[]
}

/** When an earnings head is due: at least `receipts` new ones, or any after `seconds`. */
export type TickPolicy = { readonly receipts: number; readonly seconds: number }

export type ReceiptLogOptions = {
  readonly enclave: Hex
  readonly privateKey: Uint8Array
  readonly domain: SettlementDomain
  readonly tick: TickPolicy
  /** Leaves kept for an operator that does not fetch them: 32 bytes each. Above it nothing more is issued. */
  readonly leavesKeptMax: number
}

type Waiting = {
  leaf: Uint8Array
  fee: bigint
  resolve: (issued: IssuedReceipt) => void
  reject: (error: Error) => void
}

export class ReceiptLog {
  readonly #options: ReceiptLogOptions
  #edge: LogEdge = EMPTY_EDGE
  #fees = 0n
  #waiting: Waiting[] = []
  #kept: Uint8Array[] = []
  #keptFrom = 0
  #earnings: SignedHead<EarningsHead> | undefined
  #lastTickSeconds = 0

  constructor(options: ReceiptLogOptions) {
    this.#options = options
  }

  /** Receipts issued so far. */
  get size(): number {
    return this.#edge.size
  }

  /** Whether leaves may still be added before the operator fetches some. */
  get hasRoom(): boolean {
    return this.#kept.length + this.#waiting.length < this.#options.leavesKeptMax
  }

  /** Whether the operator holds every leaf durably. */
  get isHandedOver(): boolean {
    return this.#keptFrom === this.#edge.size
  }

  /** Appends a leaf (32 bytes) with its fee in units, and answers its place once a head over it is signed. */
  issue(leaf: Uint8Array, fee: bigint): Promise<IssuedReceipt> {
    if (!this.hasRoom) return Promise.reject(new ReceiptLogError('LOG_FULL', 'the operator has not fetched the log'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ leaf, fee, resolve, reject })
      // Everything that arrives in this turn of the event loop shares one signature.
      if (this.#waiting.length === 1) setImmediate(() => this.#signWaiting())
    })
  }

  /** Makes an earnings head when one is due by the policy. `nowSeconds` since the epoch. */
  tick(nowSeconds: number): void {
    const { receipts, seconds } = this.#options.tick
    const added = this.#edge.size - Number(this.#earnings?.head.size ?? 0n)
    if (added === 0) {
      this.#lastTickSeconds = nowSeconds
      return
    }
    if (added < receipts && nowSeconds - this.#lastTickSeconds < seconds) return
    this.#lastTickSeconds = nowSeconds
    const { enclave, domain, privateKey } = this.#options
    const head: EarningsHead = {
      kind: 'earnings',
      enclave,
      size: BigInt(this.#edge.size),
      root: toHex(rootOfEdge(this.#edge)),
      fees: this.#fees,
    }
    this.#earnings = { head, signature: signDigest(hashHead(head, domain), privateKey) }
  }

  /** The newest earnings head, and the leaves from `from` up to it, at most `leavesMax`. Throws `ReceiptLogError` (`FORGOTTEN`). */
  read(from: number, leavesMax: number): { leaves: Uint8Array; head: SignedHead<EarningsHead> | undefined } {
    if (from < this.#keptFrom) throw new ReceiptLogError('FORGOTTEN', 'these leaves were acknowledged before')
    const end = Math.min(Number(this.#earnings?.head.size ?? 0n), from + leavesMax)
    const leaves = this.#kept.slice(from - this.#keptFrom, Math.max(0, end - this.#keptFrom))
    return { leaves: joinBytes(leaves), head: this.#earnings }
  }

  /** Forgets the leaves below `size`: the operator holds them durably. */
  acknowledge(size: number): void {
    const known = Math.min(size, Number(this.#earnings?.head.size ?? 0n))
    if (known <= this.#keptFrom) return
    this.#kept = this.#kept.slice(known - this.#keptFrom)
    this.#keptFrom = known
  }

  #signWaiting(): void {
    const group = this.#waiting
    this.#waiting = []
    const before = this.#edge
    const leaves = group.map((entry) => entry.leaf)
    try {
      let edge = before
      for (const leaf of leaves) edge = appendLeaf(edge, leaf)
      const { enclave, domain, privateKey } = this.#options
      const root = toHex(rootOfEdge(edge))
      const head = { kind: 'log', enclave, size: BigInt(edge.size), root } as const
      const signature = signDigest(hashHead(head, domain), privateKey)
      const paths = pathsFromEdge(before, leaves)
      this.#edge = edge
      this.#kept.push(...leaves)
      for (const [i, entry] of group.entries()) {
        this.#fees += entry.fee
        const index = before.size + i
        entry.resolve({
          index: BigInt(index),
          head: { size: BigInt(edge.size), root, signature },
          path: (paths[i] ?? []).map(toHex),
        })
      }
    } catch (cause) {
      const error = new ReceiptLogError('SIGNING_FAILED', 'cannot sign the log', { cause })
      for (const entry of group) entry.reject(error)
    }
  }
}

export type ReceiptLogErrorCode = 'LOG_FULL' | 'FORGOTTEN' | 'SIGNING_FAILED'

export class ReceiptLogError extends Error {
  override readonly name = 'ReceiptLogError'
  readonly code: ReceiptLogErrorCode
  constructor(code: ReceiptLogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
