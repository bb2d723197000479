/** An enclave's log for tests: real receipts, real leaves, heads signed by a key the test holds. @module */
import { concatBytes, encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaves, createRows, pathAt, rootAt } from '#protocol/log/rows.ts'
import { enclaveOfKey, type SettlementDomain, signHead } from '#protocol/receipt/head.ts'
import {
  hashName,
  hashPrivateReceipt,
  hashPublicReceipt,
  type PrivateReceipt,
  type PublicReceipt,
  receiptLeaf,
  ZERO_HASH,
} from '#protocol/receipt/receipt.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import type { ReceiptMessage } from '#protocol/wire/receiptFile.ts'

/** Fee of every receipt, in units. */
export const TEST_FEE = 3n

/** Receipts that differ in `seed` and position only. */
export class TestLog {
  readonly enclave: Hex
  readonly #key: Uint8Array
  readonly #domain: SettlementDomain
  readonly #seed: number
  readonly #receipts: { public: PublicReceipt; private: PrivateReceipt; leaf: Uint8Array }[] = []

  constructor(privateKey: Uint8Array, domain: SettlementDomain, seed = 0) {
    this.#key = privateKey
    this.#domain = domain
    this.#seed = seed
    this.enclave = enclaveOfKey(privateKey).toLowerCase() as Hex
  }

  get size(): number {
    return this.#receipts.length
  }

  /** Issues `count` receipts more. */
  issue(count: number): this {
    for (let i = 0; i < count; i++) this.#issueOne()
    return this
  }

  /** A log with the same first `size` receipts, whose next ones will differ. */
  forkAt(size: number, seed: number): TestLog {
    const fork = new TestLog(this.#key, this.#domain, seed)
    fork.#receipts.push(...this.#receipts.slice(0, size))
    return fork
  }

  leaf(index: number): Uint8Array {
    const receipt = this.#receipts[index]
    if (receipt === undefined) throw new RangeError(`no receipt at ${index}`)
    return receipt.leaf
  }

  /** The earnings head over the first `size` receipts. */
  head(size: number = this.size, fees: bigint = BigInt(size) * TEST_FEE): EarningsHeadMessage {
    const stated = { enclave: this.enclave, size: BigInt(size), root: this.#root(size), fees }
    return { ...stated, signature: signHead({ kind: 'earnings', ...stated }, this.#domain, this.#key).signature }
  }

  delivery(from = 0, head: EarningsHeadMessage = this.head()): HeadDelivery {
    const leaves = this.#receipts.slice(from, Number(head.size)).map(({ leaf }) => leaf)
    return { head, from: BigInt(from), leaves: concatBytes(...leaves) }
  }

  /** The receipt at `index`, under the log head of the whole log. */
  receipt(index: number, registry: Hex): ReceiptMessage {
    const entry = this.#receipts[index]
    if (entry === undefined) throw new RangeError(`no receipt at ${index}`)
    const head = { enclave: this.enclave, size: BigInt(this.size), root: this.#root(this.size) }
    return {
      format: 'sealpath-receipt/1',
      ...this.#domain,
      registry,
      public: entry.public,
      private: entry.private,
      index: BigInt(index),
      head: { ...head, signature: signHead({ kind: 'log', ...head }, this.#domain, this.#key).signature },
      path: pathAt(this.#rows(), index, this.size).map(toHex),
    }
  }

  #issueOne(): void {
    const unique = toHex(keccak256(concatBytes(encodeUint(BigInt(this.#seed), 8), encodeUint(BigInt(this.size), 8))))
    const publicHalf: PublicReceipt = {
      version: 1,
      enclave: this.enclave,
      model: hashName('test-model'),
      source: 'measured',
      origin: ZERO_HASH,
      request: unique,
      output: unique,
      nonce: unique,
      outcome: 'complete',
    }
    const privateHalf: PrivateReceipt = {
      promptTokens: 1n,
      completionTokens: 1n,
      prices: ZERO_HASH,
      fee: TEST_FEE,
      hour: 0n,
      encapsulated: unique,
      toolCalls: unique,
      response: unique,
    }
    const leaf = receiptLeaf(hashPublicReceipt(publicHalf), hashPrivateReceipt(privateHalf))
    this.#receipts.push({ public: publicHalf, private: privateHalf, leaf })
  }

  #rows(): ReturnType<typeof createRows> {
    const rows = createRows()
    appendLeaves(rows, concatBytes(...this.#receipts.map(({ leaf }) => leaf)))
    return rows
  }

  #root(size: number): Hex {
    return toHex(rootAt(this.#rows(), size))
  }
}
