/** Follows a receipt until it has settled: the aggregator's stream says when to look, the chain says what it holds. @module */
import type { SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { SealpathError } from '../../sdk/errors.ts'
import type { SealedReceipt } from '../../sdk/sealedReceipt.ts'
import type { ExplorerConfig } from '../config.ts'
import type { History, SettledBatch } from '../history.ts'
import { followHistory } from '../live.ts'
import type { Reader } from '../reader.ts'

export type SettledInChain = {
  /** Checked against the root that the chain stores. */
  readonly proof: SettledLeaf
  /** Its batch by the settlement contract's events; undefined where the endpoint does not show it. */
  readonly batch: SettledBatch | undefined
}

/** How long an aggregator may take to serve the proof of what it has just told of. */
const PROOF_WAIT_MS = 5_000
const LOOK_AGAIN_MS = 15_000

/** Tells `onSettled` once. Ends then, or when the function it answers is called. */
export function followReceipt(
  sources: { readonly reader: Reader; readonly config: ExplorerConfig },
  receipt: SealedReceipt,
  onSettled: (settled: SettledInChain) => void,
): () => void {
  const ended = new AbortController()
  const { signal } = ended
  let history: History | undefined
  let isLooking = false
  let isWanted = false
  const look = async (): Promise<void> => {
    isWanted = isLooking
    if (isLooking || signal.aborted) return
    isLooking = true
    const proof = await settledProof(receipt, signal)
    isLooking = false
    if (signal.aborted) return
    if (proof !== undefined) {
      end()
      onSettled({ proof, batch: history?.batches.find(({ batch }) => batch === proof.batch) })
    } else if (isWanted) void look()
  }
  const stop = followHistory(
    sources,
    (newest) => {
      history = newest
      void look()
    },
    () => undefined,
  )
  const again = setInterval(() => void look(), LOOK_AGAIN_MS)
  const end = (): void => {
    ended.abort()
    clearInterval(again)
    stop()
  }
  return end
}

async function settledProof(receipt: SealedReceipt, signal: AbortSignal): Promise<SettledLeaf | undefined> {
  try {
    return (await receipt.settled({ timeoutMs: PROOF_WAIT_MS, signal })).settled
  } catch (error) {
    // Not settled yet, or nobody answers just now: it is looked for again.
    if (error instanceof SealpathError || signal.aborted) return undefined
    throw error
  }
}
