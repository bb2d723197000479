/** Enclaves of a simulation: gateways with growing logs and signed heads, issuers with clearings. They are honest until told otherwise. @module */
import { signDigest } from '#node/signatures.ts'
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { hashClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey, hashHead, type SettlementDomain } from '#protocol/receipt/head.ts'
import type { EarningsHeadMessage, SignedClearing } from '#protocol/wire/agentApi.ts'
import type { HeadDelivery } from '#protocol/wire/aggregatorApi.ts'

/** A private key of 32 bytes that nobody else in the run has. */
export function keyOf(seed: number, name: string): Uint8Array {
  return keccak256(concatBytes(encodeUtf8(name), encodeUint(BigInt(seed), 8)))
}

export class SimulatedLog {
  readonly enclave: Hex
  readonly #key: Uint8Array
  readonly #domain: SettlementDomain
  readonly #branch: number
  readonly leaves: Uint8Array[] = []
  /** One for each time it grew, oldest first. */
  readonly heads: EarningsHeadMessage[] = []
  fees = 0n
  #edge: LogEdge = EMPTY_EDGE

  /** Logs of one key and another `branch` differ in every leaf. */
  constructor(key: Uint8Array, domain: SettlementDomain, branch = 0) {
    this.#key = key
    this.#domain = domain
    this.#branch = branch
    this.enclave = enclaveOfKey(key).toLowerCase() as Hex
  }

  /** `count` receipts more, for `fees` in all, and the head over all so far. */
  grow(count: number, fees: bigint): EarningsHeadMessage {
    for (let i = 0; i < count; i++) {
      const place = encodeUint(BigInt(this.leaves.length), 8)
      this.#append(keccak256(concatBytes(fromHex(this.enclave), encodeUint(BigInt(this.#branch), 8), place)))
    }
    this.fees += fees
    return this.#sign(this.fees)
  }

  /** A log with the same first `size` leaves and fees, which goes on otherwise. */
  forkAt(size: number): SimulatedLog {
    const fork = new SimulatedLog(this.#key, this.#domain, this.#branch + 1)
    for (const leaf of this.leaves.slice(0, size)) fork.#append(leaf)
    fork.fees = this.fees
    return fork
  }

  /** The head over all leaves with other fees than the last: it contradicts that one. */
  contradict(): EarningsHeadMessage {
    return this.#sign(this.fees + 1n)
  }

  delivery(head: EarningsHeadMessage, from: number): HeadDelivery {
    return { head, from: BigInt(from), leaves: joinBytes(this.leaves.slice(from, Number(head.size))) }
  }

  #append(leaf: Uint8Array): void {
    this.leaves.push(leaf)
    this.#edge = appendLeaf(this.#edge, leaf)
  }

  #sign(fees: bigint): EarningsHeadMessage {
    const stated = {
      enclave: this.enclave,
      size: BigInt(this.leaves.length),
      root: toHex(rootOfEdge(this.#edge)),
      fees,
    }
    const digest = hashHead({ kind: 'earnings', ...stated }, this.#domain)
    const head = { ...stated, signature: signDigest(digest, this.#key) }
    this.heads.push(head)
    return head
  }
}

export class SimulatedIssuer {
  readonly enclave: Hex
  readonly keyset: Hex
  /** Its own log is witnessed and never settles. */
  readonly log: SimulatedLog
  readonly #key: Uint8Array
  readonly #domain: SettlementDomain
  readonly #captured = new Map<Hex, bigint>()

  constructor(key: Uint8Array, domain: SettlementDomain) {
    this.#key = key
    this.#domain = domain
    this.log = new SimulatedLog(key, domain)
    this.enclave = this.log.enclave
    this.keyset = toHex(keccak256(fromHex(this.enclave)))
  }

  get total(): bigint {
    return [...this.#captured.values()].reduce((sum, captured) => sum + captured, 0n)
  }

  /** The clearing after `amounts` more were captured. It lists all enclaves, or only those of `amounts`. */
  capture(amounts: ReadonlyMap<Hex, bigint>, listsAll: boolean): SignedClearing {
    for (const [enclave, amount] of amounts) this.#captured.set(enclave, (this.#captured.get(enclave) ?? 0n) + amount)
    const lines = [...this.#captured].filter(([enclave]) => listsAll || amounts.has(enclave))
    const clearing = {
      keyset: this.keyset,
      issued: this.total,
      captured: this.total,
      enclaves: lines.map(([enclave, captured]) => ({ enclave, captured })),
    }
    return { ...clearing, ...signDigest(hashClearing(clearing, this.#domain), this.#key) }
  }
}
