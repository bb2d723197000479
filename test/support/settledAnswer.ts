/** One exchange with a test enclave, settled: what a client would hold of it. @module */
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import { attestedProofArgument } from '#chain/proof.ts'
import { encodeUtf8, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { commit } from '#protocol/receipt/commitment.ts'
import { enclaveOfKey, signHead } from '#protocol/receipt/head.ts'
import {
  hashName,
  hashPrivateReceipt,
  hashPublicReceipt,
  type PrivateReceipt,
  type PublicReceipt,
  receiptLeaf,
  ZERO_HASH,
} from '#protocol/receipt/receipt.ts'
import { openingsOf, type ProofBundle, type ReceiptFile } from '#protocol/wire/receiptFile.ts'
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
  const { chainId, registry, settlement } = chain.addresses
  const data = {
    request: exchange.request,
    output: encodeUtf8(exchange.output),
    nonce: fromHex(exchange.nonce),
    response: NO_BYTES,
    toolCalls: NO_BYTES,
  }
  const salt = (byte: number) => new Uint8Array(32).fill(byte)
  const salts = { request: salt(1), output: salt(2), nonce: salt(3), response: salt(4), toolCalls: salt(5) }
  const commitTo = (kind: keyof typeof data) => toHex(commit(kind, salts[kind], data[kind]))
  const publicHalf: PublicReceipt = {
    version: 1,
    enclave: enclaveOfKey(privateKey).toLowerCase() as Hex,
    model: hashName('test-model'),
    source: 'measured',
    origin: ZERO_HASH,
    request: commitTo('request'),
    output: commitTo('output'),
    nonce: commitTo('nonce'),
    outcome: 'complete',
  }
  const privateHalf: PrivateReceipt = {
    promptTokens: 1n,
    completionTokens: 1n,
    prices: ZERO_HASH,
    fee: 0n,
    hour: 0n,
    encapsulated: ZERO_HASH,
    toolCalls: commitTo('toolCalls'),
    response: commitTo('response'),
  }
  const root = toHex(receiptLeaf(hashPublicReceipt(publicHalf), hashPrivateReceipt(privateHalf)))
  const head = { kind: 'log', enclave: publicHalf.enclave, size: 1n, root } as const
  return {
    format: 'sealpath-receipt/1',
    chainId,
    registry,
    settlement,
    public: publicHalf,
    private: privateHalf,
    index: 0n,
    head: { size: 1n, root, signature: signHead(head, { chainId, settlement }, privateKey).signature },
    path: [],
    openings: openingsOf(salts, data),
  }
}
