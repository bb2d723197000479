/** What the chain says of an issuer's clearing. @module */
import type { PublicClient } from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Clearing } from '#protocol/receipt/clearing.ts'
import type { ClearingAcknowledged } from '#protocol/wire/agentApi.ts'

/** Reads under way at once. */
const READS_MAX = 16

/**
 * The lines of `clearing` that are settled in a final block, with what the chain has cleared for their enclaves under its keyset. Throws
 * `AppError` (`RPC_FAILED`).
 */
export async function readCleared(
  client: PublicClient,
  settlement: Hex,
  { keyset, enclaves }: Clearing,
): Promise<ClearingAcknowledged> {
  const settled: { enclave: Hex; captured: bigint }[] = []
  try {
    const { number: blockNumber } = await client.getBlock({ blockTag: 'finalized' })
    for (let from = 0; from < enclaves.length; from += READS_MAX) {
      const cleared = await Promise.all(
        enclaves.slice(from, from + READS_MAX).map(async ({ enclave, captured }) => {
          const args = [keyset, enclave] as const
          const contract = { address: settlement, abi: receiptSettlementAbi, blockNumber } as const
          const units = await client.readContract({ ...contract, functionName: 'clearedBy', args })
          return units >= captured ? [{ enclave, captured: units }] : []
        }),
      )
      settled.push(...cleared.flat())
    }
  } catch (cause) {
    throw new AppError('RPC_FAILED', 'the chain did not say what is cleared', { cause, retryable: true })
  }
  return { keyset, enclaves: settled }
}
