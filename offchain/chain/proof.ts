/** From what a client holds to what the contracts take. @module */
import type { ContractFunctionArgs } from 'viem'
import { toHex } from '#protocol/bytes.ts'
import { encodePublicReceipt, hashPrivateReceipt } from '#protocol/receipt/receipt.ts'
import type { ReceiptFile, ReceiptMessage, SettledLeaf } from '#protocol/wire/receiptFile.ts'
import type { inferenceVerifierAbi } from './generated/abis.ts'

/** `SettledProof` of contracts/types/Receipt.sol. */
export type SettledProofArgument = ContractFunctionArgs<typeof inferenceVerifierAbi, 'view', 'settled'>[0]
/** `AttestedProof` of contracts/types/Receipt.sol. */
export type AttestedProofArgument = ContractFunctionArgs<typeof inferenceVerifierAbi, 'view', 'attested'>[0]
/** `Opening` of contracts/libraries/InferenceProofs.sol. */
export type OpeningArgument = ContractFunctionArgs<typeof inferenceVerifierAbi, 'view', 'requireOutput'>[1]

export function settledProofArgument(receipt: ReceiptMessage, settled: SettledLeaf): SettledProofArgument {
  return {
    receipt: encodePublicReceipt(receipt.public),
    privateHash: hashPrivateReceipt(receipt.private),
    index: settled.index,
    size: settled.size,
    logPath: settled.logPath,
    batch: settled.batch,
    batchIndex: settled.batchIndex,
    batchSize: settled.batchSize,
    batchPath: settled.batchPath,
  }
}

const LOG_HEAD_KIND = 0

export function attestedProofArgument(receipt: ReceiptMessage): AttestedProofArgument {
  return {
    receipt: encodePublicReceipt(receipt.public),
    privateHash: hashPrivateReceipt(receipt.private),
    index: receipt.index,
    logPath: receipt.path,
    head: {
      enclave: receipt.public.enclave,
      kind: LOG_HEAD_KIND,
      size: receipt.head.size,
      root: receipt.head.root,
      fees: 0n,
      ...receipt.head.signature,
    },
  }
}

/** What opens the receipt's commitments before a contract; `undefined` when the file does not hold the openings. */
export function openingArgument({ openings }: ReceiptFile): OpeningArgument | undefined {
  if (openings === undefined) return undefined
  return {
    request: toHex(openings.request.data),
    requestSalt: openings.request.salt,
    output: toHex(openings.output.data),
    outputSalt: openings.output.salt,
    nonceSalt: openings.nonce.salt,
  }
}
