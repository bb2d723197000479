/** A batch: its heads hashed again to the root that the chain stores. @module */
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import type { Hex } from '#protocol/bytes.ts'
import { batchRootOf } from '#protocol/log/batch.ts'
import { BATCH_BYTES_MAX, BatchSchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import type { SettledBatch, SettledHead } from './history.ts'
import type { Reader } from './reader.ts'
import { failed, open, passed, type Step } from './steps.ts'

/** What is shown of a batch; who settled it is known from events only. */
export type ShownBatch = Omit<SettledBatch, 'settler' | 'heads'> & {
  readonly settler?: Hex
  readonly heads: readonly (Omit<SettledHead, 'fees'> & { readonly fees?: bigint })[]
}

const TIMEOUT_MS = 15_000

/** The batch as the aggregator tells it: undefined when it does not know it. Throws what `fetch`, `readBodyText` and `parseJson` throw. */
export async function fetchBatch(aggregatorUrl: string, batch: bigint): Promise<ShownBatch | undefined> {
  const response = await fetch(new URL(`/v1/batches/${batch}`, aggregatorUrl), {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!response.ok) return undefined
  return parseJson(BatchSchema, await readBodyText(response.body, BATCH_BYTES_MAX), 'batch')
}

/** Whether the batch is what the chain stores, and for good. */
export async function examineBatch(reader: Reader, settlement: Hex, { batch, heads }: ShownBatch): Promise<Step[]> {
  const read = { address: settlement, abi: receiptSettlementAbi, functionName: 'batchRoot', args: [batch] } as const
  const title = 'The heads hash to the root on chain'
  const finalTitle = 'The batch is final'
  try {
    const [stored, final] = await Promise.all([
      reader.readContract(read),
      reader.readContract({ ...read, blockTag: 'finalized' }),
    ])
    const root = heads.length === 0 ? undefined : batchRootOf(heads)
    return [
      root === stored
        ? passed(
            'root',
            title,
            `${heads.length} ${heads.length === 1 ? 'head gives' : 'heads give'} ${stored}, as the contract stores.`,
          )
        : failed('root', title, `The heads give ${root ?? 'nothing'}, the contract stores ${stored}.`),
      final === stored
        ? passed('final', finalTitle, 'The newest finalized block holds it.')
        : open('final', finalTitle, 'No finalized block holds it yet: it could still be reorganised.'),
    ]
  } catch {
    // Which of the two failed does not matter: neither can be said.
    return [open('root', title, 'The RPC endpoint does not answer: try again, or another endpoint.')]
  }
}
