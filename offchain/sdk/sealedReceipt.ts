/** A receipt in a client's hands: verified, saved, and followed until it is settled. @module */
import type { ChainReads } from '#chain/chainReads.ts'
import { settlementReadsAbi } from '#chain/generated/readsAbis.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { BATCH_NODE_TAG, LOG_NODE_TAG, rootFromPath } from '#protocol/log/tree.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from '#protocol/receipt/receipt.ts'
import { PROOF_BYTES_MAX } from '#protocol/wire/aggregatorApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import {
  type ProofBundle,
  type ReceiptFile,
  type SettledLeaf,
  SettledLeafSchema,
  serializeReceiptFile,
} from '#protocol/wire/receiptFile.ts'
import { SealpathError } from './errors.ts'

export type SettleOptions = {
  /** How long to wait, in milliseconds; five minutes unless told. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export type SettlementAccess = {
  readonly client: ChainReads
  readonly settlement: Hex
  readonly aggregatorUrl: string | undefined
}

const POLL_MS = 500

export class SealedReceipt {
  /** What to save: the receipt and what opens its commitments. */
  readonly file: ReceiptFile
  /** The receipt's leaf in its enclave's log. */
  readonly leaf: Hex
  readonly #access: SettlementAccess

  constructor(file: ReceiptFile, access: SettlementAccess) {
    this.file = file
    this.leaf = toHex(receiptLeaf(hashPublicReceipt(file.public), hashPrivateReceipt(file.private)))
    this.#access = access
  }

  /** The fee in base units of OPG. */
  get feeAmount(): bigint {
    return this.file.private.fee * BASE_UNITS_PER_UNIT
  }

  /** `receipt.json`. */
  toJson(): string {
    return serializeReceiptFile(this.file)
  }

  /**
   * Waits until the receipt is settled, and answers a proof that contracts accept: checked here against the root that the chain stores.
   * Throws `SealpathError`: `NOT_SETTLED` when the time is over, `PROOF_REJECTED`, `BAD_OPTIONS` without an aggregator.
   */
  async settled(options: SettleOptions = {}): Promise<ProofBundle> {
    const { aggregatorUrl } = this.#access
    if (aggregatorUrl === undefined) {
      throw new SealpathError('BAD_OPTIONS', 'give aggregatorUrl to connect(): it serves settled proofs')
    }
    const deadline = performance.now() + (options.timeoutMs ?? 300_000)
    for (;;) {
      const url = new URL(`/v1/proofs/${this.leaf}`, aggregatorUrl)
      const settled = await askForProof(url, Math.max(0, deadline - performance.now()), options.signal)
      if (settled !== undefined) {
        await checkSettled(this.#access, this.leaf, this.file.public.enclave, settled)
        return { format: 'sealpath-proof/1', receipt: this.file, settled }
      }
      if (performance.now() > deadline) {
        throw new SealpathError('NOT_SETTLED', 'the receipt is not settled yet: it stays valid, ask again later')
      }
      await pause(POLL_MS, options.signal)
    }
  }
}

/** Checks a settled leaf against the chain. Throws `SealpathError` (`PROOF_REJECTED`, `CHAIN_FAILED`). */
export async function checkSettled(
  { client, settlement }: Pick<SettlementAccess, 'client' | 'settlement'>,
  leaf: Hex,
  enclave: Hex,
  settled: SettledLeaf,
): Promise<void> {
  const path = settled.logPath.map((node) => fromHex(node, 32))
  const logRoot = rootFromPath(LOG_NODE_TAG, fromHex(leaf, 32), Number(settled.index), Number(settled.size) - 1, path)
  if (logRoot === undefined) throw new SealpathError('PROOF_REJECTED', 'the log path has the wrong length')
  const head = batchLeaf(enclave, settled.size, logRoot)
  const batchPath = settled.batchPath.map((node) => fromHex(node, 32))
  const last = Number(settled.batchSize) - 1
  const root = rootFromPath(BATCH_NODE_TAG, head, Number(settled.batchIndex), last, batchPath)
  const stored = await readBatchRoot(client, settlement, settled.batch)
  if (root === undefined || toHex(root) !== stored) {
    throw new SealpathError('PROOF_REJECTED', 'the proof does not lead to the root that the chain stores')
  }
}

async function readBatchRoot(client: ChainReads, settlement: Hex, batch: bigint): Promise<Hex> {
  try {
    return await client.readContract({
      address: settlement,
      abi: settlementReadsAbi,
      functionName: 'batchRoot',
      args: [batch],
    })
  } catch (cause) {
    throw new SealpathError('CHAIN_FAILED', 'cannot read the batch root', { cause })
  }
}

/** The settled leaf, or undefined while it is pending or unknown, or the aggregator does not answer: asking again is all one can do. */
async function askForProof(
  url: URL,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<SettledLeaf | undefined> {
  signal?.throwIfAborted()
  const timeout = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)))
  let status: number
  let text: string
  try {
    const response = await fetch(url, { signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]) })
    status = response.status
    text = await readBodyText(response.body, PROOF_BYTES_MAX)
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
  if (status !== 200) return undefined
  try {
    return parseJson(SettledLeafSchema, text, 'settled proof')
  } catch (cause) {
    throw new SealpathError('PROOF_REJECTED', 'the aggregator answered with something that is no proof', { cause })
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
