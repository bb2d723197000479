/** Enclaves that deliver made-up leaves to an aggregator, and how much memory a process takes meanwhile. @module */
import { readFileSync, writeFileSync } from 'node:fs'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { toBase64, toHex } from '#protocol/bytes.ts'
import { EMPTY_EDGE, type LogEdge } from '#protocol/log/edge.ts'
import { toJson } from '#protocol/wire/json.ts'
import { extendEdge } from '../../offchain/aggregator/extendEdge.ts'
import { type LocalChain, registerTestEnclave } from '../../test/support/chain.ts'
import { signEdge, syntheticLeaves } from '../../test/support/syntheticLog.ts'

/** An enclave that logs and delivers. */
export class Sender {
  readonly #seed: number
  readonly #key: Uint8Array
  readonly #domain: { readonly chainId: number; readonly settlement: `0x${string}` }
  readonly #hash: (data: Uint8Array) => Uint8Array
  #edge: LogEdge = EMPTY_EDGE

  private constructor(chain: LocalChain, seed: number, key: Uint8Array, hash: (data: Uint8Array) => Uint8Array) {
    this.#seed = seed
    this.#key = key
    this.#domain = { chainId: chain.addresses.chainId, settlement: chain.addresses.settlement }
    this.#hash = hash
  }

  static async open(chain: LocalChain, seed: number): Promise<Sender> {
    const key = new Uint8Array(32).fill(0x40 + seed)
    await registerTestEnclave(chain, key)
    return new Sender(chain, seed, key, await createBulkKeccak())
  }

  /** The leaf at `index`, hex. */
  leafAt(index: number): string {
    return toHex(syntheticLeaves(this.#seed, index, 1))
  }

  get size(): number {
    return this.#edge.size
  }

  /** The body of a delivery of the next `count` leaves. */
  next(count: number): string {
    const from = this.#edge.size
    const leaves = syntheticLeaves(this.#seed, from, count)
    this.#edge = extendEdge(this.#edge, leaves)
    return toJson({
      head: signEdge(this.#edge, this.#key, this.#domain, this.#hash),
      from: BigInt(from),
      leaves: toBase64(leaves),
    })
  }
}

/** Tries again like an agent: while bodies are made up here, the server closes the connection that was idle for so long. */
export async function deliver(url: string, body: string): Promise<void> {
  const send = () => fetch(url, { method: 'POST', body })
  const response = await send().catch(send)
  if (!response.ok) throw new Error(`expected 200, got ${response.status}: ${await response.text()}`)
  await response.body?.cancel()
}

/** Most memory that a process had since it began or since `forgetPeak`. Linux counts it. */
export function peakMebibytes(pid: number | undefined): number {
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(peak) / 1024)
}

export function forgetPeak(pid: number | undefined): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}
