/**
 * `receipt.json` and the proof bundle: what a client keeps, what anyone can check. Spec: docs/spec.md section 6.
 * @module
 */
import * as v from 'valibot'
import { type Hex, toBase64, toHex } from '../bytes.ts'
import { COMMITMENT_KINDS, type CommitmentKind, type CommittedData, type Salts } from '../receipt/commitment.ts'
import type { CompactSignature } from '../receipt/head.ts'
import { type PrivateReceipt, type PublicReceipt, RECEIPT_VERSION } from '../receipt/receipt.ts'
import { address, base64Of, hash, parseJson, type Schema, toJson, uintOf } from './json.ts'

/** A path has at most one sibling per bit of the index. */
const PATH_LENGTH_MAX = 64
/** What one commitment may be opened to: the largest body the gateway takes, and then some. */
const OPENED_BYTES_MAX = 32 * 1024 * 1024

/** What the gateway sends in the `sealpath-receipt` trailer: the receipt, and its place under a signed log head. */
export type ReceiptMessage = {
  readonly format: 'sealpath-receipt/1'
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  readonly public: PublicReceipt
  readonly private: PrivateReceipt
  readonly index: bigint
  readonly head: { readonly size: bigint; readonly root: Hex; readonly signature: CompactSignature }
  /** Inclusion path, lowest sibling first. */
  readonly path: readonly Hex[]
}

/** Opens one commitment. */
export type Opening = { readonly salt: Hex; readonly data: Uint8Array }

/** What the client saves: the same, and what opens the commitments. */
export type ReceiptFile = ReceiptMessage & { readonly openings?: Readonly<Record<CommitmentKind, Opening>> }

/** Where a settled leaf is: everything a contract needs besides the receipt. */
export type SettledLeaf = {
  readonly enclave: Hex
  readonly index: bigint
  readonly size: bigint
  readonly logPath: readonly Hex[]
  readonly batch: bigint
  readonly batchIndex: bigint
  readonly batchSize: bigint
  readonly batchPath: readonly Hex[]
  readonly transaction: Hex
  readonly block: bigint
}

/** A receipt with its settled proof: good for as long as the chain is. */
export type ProofBundle = {
  readonly format: 'sealpath-proof/1'
  readonly receipt: ReceiptFile
  readonly settled: SettledLeaf
}

const path: Schema<Hex[]> = v.pipe(v.array(hash), v.maxLength(PATH_LENGTH_MAX))

const PublicReceiptSchema: Schema<PublicReceipt> = v.object({
  version: v.literal(RECEIPT_VERSION),
  enclave: address,
  model: hash,
  source: v.picklist(['measured', 'proxied', 'operator']),
  origin: hash,
  request: hash,
  output: hash,
  nonce: hash,
  outcome: v.picklist(['complete', 'length', 'toolCalls', 'cut', 'filtered']),
})

const PrivateReceiptSchema: Schema<PrivateReceipt> = v.object({
  promptTokens: uintOf(64),
  completionTokens: uintOf(64),
  prices: hash,
  fee: uintOf(64),
  hour: uintOf(64),
  encapsulated: hash,
  toolCalls: hash,
  response: hash,
})

const messageEntries = {
  format: v.literal('sealpath-receipt/1'),
  chainId: v.pipe(v.number(), v.integer(), v.minValue(1)),
  registry: address,
  settlement: address,
  public: PublicReceiptSchema,
  private: PrivateReceiptSchema,
  index: uintOf(53),
  head: v.object({ size: uintOf(53), root: hash, signature: v.object({ r: hash, vs: hash }) }),
  path,
}

const ReceiptMessageSchema: Schema<ReceiptMessage> = v.object(messageEntries)

const opening = v.object({ salt: hash, data: base64Of(OPENED_BYTES_MAX) })

const ReceiptFileSchema: Schema<ReceiptFile> = v.object({
  ...messageEntries,
  openings: v.exactOptional(
    v.object({ request: opening, output: opening, nonce: opening, response: opening, toolCalls: opening }),
  ),
})

export const SettledLeafSchema: Schema<SettledLeaf> = v.object({
  enclave: address,
  index: uintOf(53),
  size: uintOf(53),
  logPath: path,
  batch: uintOf(64),
  batchIndex: uintOf(32),
  batchSize: uintOf(32),
  batchPath: path,
  transaction: hash,
  block: uintOf(64),
})

const ProofBundleSchema: Schema<ProofBundle> = v.object({
  format: v.literal('sealpath-proof/1'),
  receipt: ReceiptFileSchema,
  settled: SettledLeafSchema,
})

/** Name of the Binary HTTP trailer field that carries the receipt. */
export const RECEIPT_TRAILER = 'sealpath-receipt'
/** Name of the inner request field that carries the client's nonce, hex of at most 64 bytes. */
export const NONCE_FIELD = 'sealpath-nonce'

export function parseReceiptMessage(text: string): ReceiptMessage {
  return parseJson(ReceiptMessageSchema, text, 'receipt')
}

export function parseReceiptFile(text: string): ReceiptFile {
  return parseJson(ReceiptFileSchema, text, 'receipt file')
}

export function parseProofBundle(text: string): ProofBundle {
  return parseJson(ProofBundleSchema, text, 'proof bundle')
}

/** The trailer's value: one line of JSON. */
export function serializeReceiptMessage(message: ReceiptMessage): string {
  return toJson(message)
}

/** JSON of a receipt file, for people to read too. */
export function serializeReceiptFile(file: ReceiptFile): string {
  return `${toJson(toPlain(file), 2)}\n`
}

/** JSON of a proof bundle. */
export function serializeProofBundle(bundle: ProofBundle): string {
  return `${toJson({ ...bundle, receipt: toPlain(bundle.receipt) }, 2)}\n`
}

/** The openings of an exchange, from its salts and what was committed to. */
export function openingsOf(salts: Salts, data: CommittedData): Record<CommitmentKind, Opening> {
  const open = (kind: CommitmentKind): Opening => ({ salt: toHex(salts[kind]), data: data[kind] })
  return {
    request: open('request'),
    output: open('output'),
    nonce: open('nonce'),
    response: open('response'),
    toolCalls: open('toolCalls'),
  }
}

function toPlain(file: ReceiptFile): unknown {
  const { openings, ...rest } = file
  if (openings === undefined) return rest
  const plain = Object.fromEntries(
    COMMITMENT_KINDS.map((kind) => [kind, { salt: openings[kind].salt, data: toBase64(openings[kind].data) }]),
  )
  return { ...rest, openings: plain }
}
