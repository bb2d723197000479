/** A whole receipt of one exchange, as an enclave with a key of ours makes it and a client holds it. @module */
import { encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaf, EMPTY_EDGE, pathFromEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { COMMITMENT_KINDS, type CommitmentKind, commit, type Salts } from '#protocol/receipt/commitment.ts'
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
import { openingsOf, type ReceiptFile } from '#protocol/wire/receiptFile.ts'

/** Whose receipts these are, where the log settles. */
export type ReceiptStage = {
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  /** Of the enclave, 32 bytes. */
  readonly privateKey: Uint8Array
}

export type ReceiptContent = {
  readonly model: string
  readonly data: Readonly<Record<CommitmentKind, Uint8Array>>
  readonly fee: bigint
  /** Leaves of the log, 32 bytes each; ours takes the place of the one at `index`, or comes after them. */
  readonly log: readonly Uint8Array[]
  readonly index: number
}

const KEY = new Uint8Array(32).fill(0x42)
const SOMEWHERE: ReceiptStage = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  privateKey: KEY,
}
const SOMETHING: ReceiptContent = {
  model: 'demo',
  data: {
    request: encodeUtf8('{"model":"demo"}'),
    output: encodeUtf8('Hello'),
    nonce: Uint8Array.of(1, 2, 3),
    response: encodeUtf8('{"choices":[]}'),
    toolCalls: new Uint8Array(),
  },
  fee: 8n,
  log: [],
  index: 0,
}

/** The same salts for the same kinds, so that a receipt can be built twice. */
export function buildReceipt(content: Partial<ReceiptContent> = {}, stage: ReceiptStage = SOMEWHERE): ReceiptFile {
  const { model, data, fee, log, index } = { ...SOMETHING, ...content }
  const { chainId, registry, settlement, privateKey } = stage
  const salts = Object.fromEntries(COMMITMENT_KINDS.map((kind) => [kind, keccak256(encodeUtf8(kind))])) as Salts
  const commitment = (kind: CommitmentKind): Hex => toHex(commit(kind, salts[kind], data[kind]))
  const enclave = enclaveOfKey(privateKey).toLowerCase() as Hex
  const publicHalf: PublicReceipt = {
    version: 1,
    enclave,
    model: hashName(model),
    source: 'measured',
    origin: ZERO_HASH,
    request: commitment('request'),
    output: commitment('output'),
    nonce: commitment('nonce'),
    outcome: 'complete',
  }
  const privateHalf: PrivateReceipt = {
    promptTokens: 3n,
    completionTokens: 5n,
    prices: hashName('prices'),
    fee,
    hour: 490_000n,
    encapsulated: hashName('encapsulated'),
    toolCalls: commitment('toolCalls'),
    response: commitment('response'),
  }
  const leaves = [...log]
  leaves[index] = receiptLeaf(hashPublicReceipt(publicHalf), hashPrivateReceipt(privateHalf))
  const edge = leaves.reduce((before, leaf) => appendLeaf(before, leaf), EMPTY_EDGE)
  const head = { kind: 'log', enclave, size: BigInt(leaves.length), root: toHex(rootOfEdge(edge)) } as const
  const { signature } = signHead(head, { chainId, settlement }, privateKey)
  return {
    format: 'sealpath-receipt/1',
    chainId,
    registry,
    settlement,
    public: publicHalf,
    private: privateHalf,
    index: BigInt(index),
    head: { size: head.size, root: head.root, signature },
    path: pathFromEdge(EMPTY_EDGE, leaves, index).map(toHex),
    openings: openingsOf(salts, data),
  }
}
