/** What a transaction's events say about settled and skipped heads and clearings. @module */
import { strict as assert } from 'node:assert'
import { parseEventLogs, type TransactionReceipt } from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import { batchRootOf } from '#protocol/log/batch.ts'
import { hashClearing } from '#protocol/receipt/clearing.ts'
import type { SettlementDomain } from '#protocol/receipt/head.ts'
import type { SettledBatch, SettledHead } from './store.ts'

/** Numbers of `HeadRefusal` in contracts/interfaces/IReceiptSettlement.sol. */
const HEAD_REFUSALS = [
  'None',
  'BadSignature',
  'UnknownEnclave',
  'EnclaveEnded',
  'SizeOutOfRange',
  'Duplicate',
  'Contradiction',
  'SettlerExclusive',
] as const
export type HeadRefusal = (typeof HEAD_REFUSALS)[number]

export type HeadSkip = { readonly enclave: Hex; readonly size: bigint; readonly reason: HeadRefusal }

/** Numbers of `ClearingRefusal` in contracts/interfaces/IReceiptSettlement.sol. */
const CLEARING_REFUSALS = ['None', 'BadSignature', 'UnknownKeyset', 'IssuerEnded', 'OutOfBounds', 'StaleLine'] as const
export type ClearingRefusal = (typeof CLEARING_REFUSALS)[number]

/** What became of one clearing: settled (`id` is its digest), whatever lines of it were stale, or refused as a whole. */
export type ClearingOutcome =
  | { readonly isSettled: true; readonly id: Hex }
  | { readonly isSettled: false; readonly reason: ClearingRefusal }

/** `clearings` are in the order of the calls that brought them. */
export type SettlementEvents = {
  readonly batches: readonly SettledBatch[]
  readonly skips: readonly HeadSkip[]
  readonly clearings: readonly ClearingOutcome[]
}

/**
 * What a receipt says was settled and skipped, as far as the contract of `domain` said so. Throws when a batch's heads do not lead to the root that the contract
 * stored: then this code and the contract disagree about the tree, and no proof made here would hold.
 */
export function readSettlementEvents(receipt: TransactionReceipt, domain: SettlementDomain): SettlementEvents {
  const logs = receipt.logs.filter(({ address }) => address.toLowerCase() === domain.settlement.toLowerCase())
  const heads = new Map<bigint, SettledHead[]>()
  const batches: SettledBatch[] = []
  const skips: HeadSkip[] = []
  const clearings: ClearingOutcome[] = []
  // Its HeadSkipped comes right before the HeadSettled of the same head.
  let exclusive = ''
  for (const event of parseEventLogs({ abi: receiptSettlementAbi, logs, strict: true })) {
    switch (event.eventName) {
      case 'HeadSettled': {
        const { batch, enclave, size, root, fees } = event.args
        const moved = exclusive === `${enclave} ${size}` ? {} : { earned: fees }
        heads.set(batch, [...(heads.get(batch) ?? []), { enclave: lowerHex(enclave), size, root, ...moved }])
        exclusive = ''
        break
      }
      case 'HeadSkipped': {
        const { enclave, size, reason } = event.args
        const skip = { enclave: lowerHex(enclave), size, reason: HEAD_REFUSALS[reason] ?? 'None' }
        skips.push(skip)
        if (skip.reason === 'SettlerExclusive') exclusive = `${enclave} ${size}`
        break
      }
      case 'ClearingSettled':
        clearings.push({ isSettled: true, id: hashClearing(event.args, domain) })
        break
      case 'ClearingSkipped': {
        const reason = CLEARING_REFUSALS[event.args.reason] ?? 'None'
        // A line that says nothing new; whatever else there is in its clearing was taken.
        if (reason !== 'StaleLine') clearings.push({ isSettled: false, reason })
        break
      }
      case 'BatchSettled':
        batches.push(settledBatch(receipt, event.args.batch, event.args.root, heads.get(event.args.batch) ?? []))
        break
    }
  }
  return { batches, skips, clearings }
}

function settledBatch(receipt: TransactionReceipt, batch: bigint, root: Hex, heads: SettledHead[]): SettledBatch {
  assert(batchRootOf(heads) === root, `the heads of batch ${batch} lead to its root`)
  return {
    batch,
    root,
    transaction: receipt.transactionHash,
    block: receipt.blockNumber,
    gasUsed: receipt.gasUsed,
    heads,
  }
}
