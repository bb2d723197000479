/** One exchange with a test enclave, settled: what a client would hold of it. @module */
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { attestedProofArgument } from '#chain/proof.ts'
import { encodeUtf8, fromHex, type Hex } from '#protocol/bytes.ts'
import type { ProofBundle, ReceiptFile } from '#protocol/wire/receiptFile.ts'
import { buildReceipt } from './builtReceipt.ts'
import type { LocalChain } from './chain.ts'

/** `nonce` is what the client sent with the request, hex. */
export type AnsweredRequest = { readonly request: Uint8Array; readonly output: string; readonly nonce: Hex }

const NO_BYTES = new Uint8Array()

/** Settles a log of one receipt, for this exchange, of the registered enclave whose key is `privateKey`. */
export async function settleAnswer(
  chain: LocalChain,
  privateKey: Uint8Array,
  exchange: AnsweredRequest,
): Promise<ProofBundle> {
  const receipt = answeredReceipt(chain, privateKey, exchange)
  const { head } = attestedProofArgument(receipt)
  const wallet = chain.wallet('settler')
  const settlement = { address: chain.addresses.settlement, abi: receiptSettlementAbi } as const
  const transaction = await wallet.writeContract({ ...settlement, functionName: 'settle', args: [[head], []] })
  const { blockNumber } = await chain.client.waitForTransactionReceipt({ hash: transaction })
  const settled = {
    enclave: receipt.public.enclave,
    index: 0n,
    size: 1n,
    logPath: [],
    batch: await chain.client.readContract({ ...settlement, functionName: 'batchCount' }),
    batchIndex: 0n,
    batchSize: 1n,
    batchPath: [],
    transaction,
    block: blockNumber,
  }
  return { format: 'sealpath-proof/1', receipt, settled }
}

function answeredReceipt(chain: LocalChain, privateKey: Uint8Array, exchange: AnsweredRequest): ReceiptFile {
  const { request, output, nonce } = exchange
  const data = { request, output: encodeUtf8(output), nonce: fromHex(nonce), response: NO_BYTES, toolCalls: NO_BYTES }
  return buildReceipt({ model: 'test-model', data, fee: 0n }, { ...chain.addresses, privateKey })
}
