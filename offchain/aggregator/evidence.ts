/** Two signed heads that cannot both be true, as the call that shows it to ReceiptSettlement. @module */
import { type ContractFunctionArgs, encodeFunctionData } from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { appendLeaves, createRows, leafAt, pathAt } from '#protocol/log/rows.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import type { Evidence } from './store.ts'

/** `SignedHead` of contracts/types/Receipt.sol. */
export type SignedHeadArgument = ContractFunctionArgs<typeof receiptSettlementAbi, 'nonpayable', 'settle'>[0][number]

const EARNINGS_HEAD_KIND = 1

export function signedHeadArgument({ signature, ...head }: EarningsHeadMessage): SignedHeadArgument {
  return { ...head, kind: EARNINGS_HEAD_KIND, ...signature }
}

/**
 * Whether two heads of one enclave contradict each other by what they state alone: one size with two roots or two fee totals, or a
 * larger log that earned less. Twin of contracts/libraries/Equivocation.sol.
 */
export function contradict(a: EarningsHeadMessage, b: EarningsHeadMessage): boolean {
  if (a.size === b.size) return a.root !== b.root || a.fees !== b.fees
  return a.size < b.size ? a.fees > b.fees : b.fees > a.fees
}

/** Evidence of a contradiction between two validly signed heads. */
export function contradictionEvidence(a: EarningsHeadMessage, b: EarningsHeadMessage): Evidence {
  const calldata = encodeFunctionData({
    abi: receiptSettlementAbi,
    functionName: 'reportContradiction',
    args: [signedHeadArgument(a), signedHeadArgument(b)],
  })
  return { enclave: a.enclave, kind: 'contradiction', heads: [a, b], calldata }
}

/** One head with all its leaves, 32 bytes each. */
export type WholeLog = { readonly head: EarningsHeadMessage; readonly leaves: Uint8Array }

/** Evidence of a fork: two validly signed heads whose logs hold different leaves at `index`. */
export function forkEvidence(a: WholeLog, b: WholeLog, index: number, hash: Keccak256): Evidence {
  const [nodeA, pathA] = provenLeaf(a, index, hash)
  const [nodeB, pathB] = provenLeaf(b, index, hash)
  const calldata = encodeFunctionData({
    abi: receiptSettlementAbi,
    functionName: 'reportFork',
    args: [signedHeadArgument(a.head), signedHeadArgument(b.head), 0, BigInt(index), [nodeA, nodeB], [pathA, pathB]],
  })
  return { enclave: a.head.enclave, kind: 'fork', heads: [a.head, b.head], calldata }
}

function provenLeaf({ head, leaves }: WholeLog, index: number, hash: Keccak256): [Hex, Hex[]] {
  const rows = createRows()
  appendLeaves(rows, leaves, hash)
  return [toHex(leafAt(rows, index)), pathAt(rows, index, Number(head.size), hash).map(toHex)]
}
