/** Vectors that Solidity reads too (test/contracts/Vectors.t.sol): recomputed here by the protocol's code, and by ethers. @module */
import { recoverAddress, Signature, TypedDataEncoder } from 'ethers'
import { describe, expect, it } from 'vitest'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import {
  ENCLAVE_STATEMENT_TYPES,
  type EnclaveRole,
  hashStatement,
  statementDomain,
} from '#protocol/evidence/statement.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { appendLeaf, EMPTY_EDGE, pathFromEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { BATCH_NODE_TAG, hashNode, LOG_NODE_TAG, type NodeTag, rootFromPath } from '#protocol/log/tree.ts'
import { CLEARING_TYPES, hashClearing } from '#protocol/receipt/clearing.ts'
import { COMMITMENT_TAGS, type CommitmentKind, commit } from '#protocol/receipt/commitment.ts'
import {
  HEAD_TYPES,
  type Head,
  hashHead,
  isSignedByEnclave,
  recoverSigner,
  settlementDomain,
} from '#protocol/receipt/head.ts'
import {
  CLAIM_SOURCES,
  type ClaimSource,
  hashPrivateReceipt,
  hashPublicReceipt,
  OUTCOMES,
  type Outcome,
  type PrivateReceipt,
  RECEIPT_TYPES,
  receiptLeaf,
} from '#protocol/receipt/receipt.ts'
import { generateVectors, readVectors } from '../scripts/generateVectors.ts'

type LogVectors = {
  leaves: Hex[]
  trees: {
    size: number
    logRoot: Hex
    batchRoot: Hex
    inclusions: { index: number; path: Hex[] }[]
    subtrees: { level: number; index: number; node: Hex; path: Hex[] }[]
  }[]
}

type SignedText = { privateKey: Hex; digest: Hex; r: Hex; vs: Hex }
type ReceiptVectors = {
  domain: { chainId: number; settlement: Hex }
  receipts: {
    name: string
    public: { version: 1; enclave: Hex; source: number; outcome: number } & Record<
      'model' | 'origin' | 'request' | 'output' | 'nonce',
      Hex
    >
    private: Record<'promptTokens' | 'completionTokens' | 'fee' | 'hour', string> &
      Record<'prices' | 'encapsulated' | 'toolCalls' | 'response', Hex>
    publicHash: Hex
    privateHash: Hex
    leaf: Hex
  }[]
  commitments: { kind: CommitmentKind; tag: number; salt: Hex; data: Hex; commitment: Hex }[]
  heads: (SignedText & {
    kind: 'log' | 'earnings'
    enclave: Hex
    size: string
    root: Hex
    fees: string
    batchLeaf: Hex
  })[]
  clearings: (SignedText & {
    keyset: Hex
    issued: string
    captured: string
    issuer: Hex
    enclaves: { enclave: Hex; captured: string }[]
  })[]
}

type StatementVectors = {
  domain: { chainId: number; registry: Hex }
  statements: { role: EnclaveRole; enclave: Hex; keyConfigs: Hex; operator: Hex; digest: Hex; possession: Hex }[]
}

const log = JSON.parse(readVectors('log.json')) as LogVectors
const receipt = JSON.parse(readVectors('receipt.json')) as ReceiptVectors
const statement = JSON.parse(readVectors('statement.json')) as StatementVectors

describe('vector files', () => {
  it.each(Object.entries(generateVectors()))('%s is what the generator writes', (name, text) => {
    expect(readVectors(name)).toBe(text)
  })
})

describe('log.json', () => {
  const leaves = log.leaves.map((leaf) => fromHex(leaf, 32))

  it.each(log.trees)('holds the roots of $size leaves', ({ size, logRoot, batchRoot }) => {
    const edge = leaves.slice(0, size).reduce((grown, leaf) => appendLeaf(grown, leaf), EMPTY_EDGE)
    expect(toHex(rootOfEdge(edge))).toBe(logRoot)
    expect(toHex(plainRoot(LOG_NODE_TAG, leaves.slice(0, size)))).toBe(logRoot)
    expect(toHex(plainRoot(BATCH_NODE_TAG, leaves.slice(0, size)))).toBe(batchRoot)
  })

  it.each(log.trees)('holds paths in $size leaves', ({ size, logRoot, inclusions }) => {
    for (const { index, path } of inclusions) {
      expect(pathFromEdge(EMPTY_EDGE, leaves.slice(0, size), index).map(toHex)).toEqual(path)
      const leaf = leaves[index] ?? new Uint8Array()
      expect(toHex(rootFromPath(LOG_NODE_TAG, leaf, index, size - 1, bytesOf(path)) ?? new Uint8Array())).toBe(logRoot)
    }
  })

  it.each(log.trees)('holds paths of complete subtrees of $size leaves', ({ size, logRoot, subtrees }) => {
    for (const { level, index, node, path } of subtrees) {
      const width = 2 ** level
      const covered = leaves.slice(index * width, (index + 1) * width)
      expect(toHex(plainRoot(LOG_NODE_TAG, covered))).toBe(node)
      const last = Math.floor((size - 1) / width)
      const root = rootFromPath(LOG_NODE_TAG, fromHex(node, 32), index, last, bytesOf(path))
      expect(toHex(root ?? new Uint8Array())).toBe(logRoot)
    }
  })
})

describe('receipt.json', () => {
  const domain = settlementDomain(receipt.domain)

  it.each(receipt.receipts)('holds a receipt: $name', (vector) => {
    const publicHalf = {
      ...vector.public,
      source: nameOf<ClaimSource>(CLAIM_SOURCES, vector.public.source),
      outcome: nameOf<Outcome>(OUTCOMES, vector.public.outcome),
    }
    expect(hashPublicReceipt(publicHalf)).toBe(vector.publicHash)
    expect(hashPrivateReceipt(privateHalf(vector.private))).toBe(vector.privateHash)
    expect(toHex(receiptLeaf(vector.publicHash, vector.privateHash))).toBe(vector.leaf)
  })

  it.each(receipt.receipts)('holds struct hashes that ethers finds too: $name', (vector) => {
    const { PublicReceipt, PrivateReceipt } = RECEIPT_TYPES
    expect(ethersHash('PublicReceipt', { PublicReceipt: [...PublicReceipt] }, vector.public)).toBe(vector.publicHash)
    expect(ethersHash('PrivateReceipt', { PrivateReceipt: [...PrivateReceipt] }, vector.private)).toBe(
      vector.privateHash,
    )
  })

  it('holds a commitment of each kind', () => {
    expect(new Set(receipt.commitments.map(({ kind }) => kind))).toEqual(new Set(Object.keys(COMMITMENT_TAGS)))
    for (const { kind, tag, salt, data, commitment } of receipt.commitments) {
      expect(COMMITMENT_TAGS[kind]).toBe(tag)
      expect(toHex(commit(kind, fromHex(salt, 32), fromHex(data)))).toBe(commitment)
    }
  })

  it.each(receipt.heads)('holds a signed $kind head of $size', (vector) => {
    const stated = { enclave: vector.enclave, size: BigInt(vector.size), root: vector.root }
    const head: Head =
      vector.kind === 'log' ? { kind: 'log', ...stated } : { kind: 'earnings', ...stated, fees: BigInt(vector.fees) }
    expect(hashHead(head, receipt.domain)).toBe(vector.digest)
    expect(isSignedByEnclave({ head, signature: { r: vector.r, vs: vector.vs } }, receipt.domain)).toBe(true)
    expect(toHex(batchLeaf(head.enclave, head.size, fromHex(head.root, 32)))).toBe(vector.batchLeaf)
  })

  it.each(receipt.heads)('holds a $kind head of $size whose digest and signer ethers finds too', (vector) => {
    const type = vector.kind === 'log' ? 'LogHead' : 'EarningsHead'
    expect(TypedDataEncoder.hash(domain, { [type]: [...HEAD_TYPES[type]] }, vector)).toBe(vector.digest)
    expect(ethersSigner(vector)).toBe(vector.enclave)
  })

  it.each(receipt.clearings)('holds a signed clearing of $enclaves.length enclaves', (vector) => {
    const clearing = {
      keyset: vector.keyset,
      issued: BigInt(vector.issued),
      captured: BigInt(vector.captured),
      enclaves: vector.enclaves.map(({ enclave, captured }) => ({ enclave, captured: BigInt(captured) })),
    }
    expect(hashClearing(clearing, receipt.domain)).toBe(vector.digest)
    expect(recoverSigner(vector.digest, vector)).toBe(vector.issuer)
  })

  it.each(receipt.clearings)('holds a clearing whose digest and signer ethers finds too', (vector) => {
    const types = { Clearing: [...CLEARING_TYPES.Clearing], Captured: [...CLEARING_TYPES.Captured] }
    expect(TypedDataEncoder.hash(domain, types, vector)).toBe(vector.digest)
    expect(ethersSigner(vector)).toBe(vector.issuer)
  })
})

describe('statement.json', () => {
  it.each(statement.statements)('holds a statement of role $role', (vector) => {
    expect(hashStatement(vector, statement.domain)).toBe(vector.digest)
  })

  it.each(statement.statements)(
    'holds a statement of role $role whose digest and signer ethers finds too',
    (vector) => {
      const types = { EnclaveStatement: [...ENCLAVE_STATEMENT_TYPES.EnclaveStatement] }
      expect(TypedDataEncoder.hash(statementDomain(statement.domain), types, vector)).toBe(vector.digest)
      expect(recoverAddress(vector.digest, vector.possession)).toBe(vector.enclave)
    },
  )
})

/** The tree as RFC 9162 section 2.1.1 defines it. */
function plainRoot(tag: NodeTag, leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves
  if (first === undefined) throw new RangeError('an empty tree has no root')
  if (leaves.length === 1) return first
  let split = 1
  while (split * 2 < leaves.length) split *= 2
  return hashNode(tag, plainRoot(tag, leaves.slice(0, split)), plainRoot(tag, leaves.slice(split)))
}

function privateHalf(text: ReceiptVectors['receipts'][number]['private']): PrivateReceipt {
  return {
    ...text,
    promptTokens: BigInt(text.promptTokens),
    completionTokens: BigInt(text.completionTokens),
    fee: BigInt(text.fee),
    hour: BigInt(text.hour),
  }
}

function nameOf<Name extends string>(numbers: Readonly<Record<Name, number>>, number: number): Name {
  const name = (Object.keys(numbers) as Name[]).find((key) => numbers[key] === number)
  if (name === undefined) throw new RangeError(`no name for ${number}`)
  return name
}

function bytesOf(path: readonly Hex[]): Uint8Array[] {
  return path.map((node) => fromHex(node, 32))
}

function ethersHash(type: string, types: Record<string, { name: string; type: string }[]>, value: object): string {
  return TypedDataEncoder.hashStruct(type, types, { ...value })
}

function ethersSigner({ digest, r, vs }: SignedText): string {
  return recoverAddress(digest, Signature.from({ r, yParityAndS: vs }))
}
