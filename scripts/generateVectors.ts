/**
 * Writes the vectors that TypeScript, Solidity and, for typed data, ethers read: test/vectors/{log,receipt,statement}.json.
 * Everything in them follows from labels below, so that the same code writes the same bytes. Run: `node scripts/generateVectors.ts`.
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { concatBytes, decodeUint, encodeUint, encodeUtf8, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE, type EnclaveStatement, hashStatement } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { appendLeaves, createRows, pathAt, rootAt } from '#protocol/log/rows.ts'
import { BATCH_NODE_TAG, LOG_NODE_TAG } from '#protocol/log/tree.ts'
import { type Clearing, hashClearing, signClearing } from '#protocol/receipt/clearing.ts'
import { COMMITMENT_KINDS, COMMITMENT_TAGS, commit } from '#protocol/receipt/commitment.ts'
import {
  enclaveOfKey,
  expandSignature,
  type Head,
  hashHead,
  type SettlementDomain,
  signDigest,
  signHead,
} from '#protocol/receipt/head.ts'
import {
  CLAIM_SOURCES,
  encodePublicReceipt,
  hashName,
  hashPrivateReceipt,
  hashPublicReceipt,
  OUTCOMES,
  type PrivateReceipt,
  type PublicReceipt,
  receiptLeaf,
  ZERO_HASH,
} from '#protocol/receipt/receipt.ts'

/** Sizes around every change of shape. */
const TREE_SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 70]
const UINT64_MAX = 2n ** 64n - 1n
/** The largest size that settles. */
const SIZE_MAX = 2n ** 40n - 1n

const SOURCE =
  'Our own formats (docs/spec.md sections 3 and 4), made by the code in offchain/protocol; labels are hashed to values.'
const GENERATOR = 'scripts/generateVectors.ts; do not edit: test/vectors.test.ts compares it'

/** The text of each vector file, by its name in test/vectors. */
export function generateVectors(): Readonly<Record<string, string>> {
  return {
    'log.json': print(logVectors()),
    'receipt.json': print(receiptVectors()),
    'statement.json': print(statementVectors()),
  }
}

/** The vector file as it stands on disk. */
export function readVectors(name: string): string {
  return readFileSync(new URL(name, VECTORS_FOLDER), 'utf8')
}

const VECTORS_FOLDER = new URL('../test/vectors/', import.meta.url)

function logVectors(): unknown {
  return {
    source: `RFC 9162 section 2.1 with keccak-256 and tags of our own. ${SOURCE}`,
    generator: GENERATOR,
    leaves: Array.from({ length: Math.max(...TREE_SIZES) }, (_, i) => toHex(leafOf(i))),
    trees: TREE_SIZES.map(treeVector),
  }
}

/** Roots over the first `size` leaves under both tags, paths of leaves, and paths of complete subtrees. */
function treeVector(size: number): unknown {
  const leaves = joinLeaves(size)
  const log = createRows(LOG_NODE_TAG)
  appendLeaves(log, leaves)
  const batch = createRows(BATCH_NODE_TAG)
  appendLeaves(batch, leaves)
  const indices =
    size <= 9 ? Array.from({ length: size }, (_, i) => i) : [0, 1, Math.floor(size / 2), size - 2, size - 1]
  return {
    size,
    logRoot: toHex(rootAt(log, size)),
    batchRoot: toHex(rootAt(batch, size)),
    inclusions: indices.map((index) => ({ index, path: pathAt(log, index, size).map(toHex) })),
    subtrees: subtreesOf(size).map(({ level, index }) => ({
      level,
      index,
      node: toHex(subtreeRoot(level, index)),
      path: pathAt(log, index * 2 ** level, size)
        .slice(level)
        .map(toHex),
    })),
  }
}

/** The first and the last complete subtree of each level. */
function subtreesOf(size: number): { level: number; index: number }[] {
  const places: { level: number; index: number }[] = []
  for (let level = 1; 2 ** level <= size; level++) {
    const last = Math.floor(size / 2 ** level) - 1
    for (const index of new Set([0, last])) places.push({ level, index })
  }
  return places
}

function subtreeRoot(level: number, index: number): Uint8Array {
  const width = 2 ** level
  const rows = createRows(LOG_NODE_TAG)
  for (let i = 0; i < width; i++) appendLeaves(rows, leafOf(index * width + i))
  return rootAt(rows, width)
}

function joinLeaves(size: number): Uint8Array {
  return concatBytes(...Array.from({ length: size }, (_, i) => leafOf(i)))
}

function leafOf(index: number): Uint8Array {
  return word('leaf', index)
}

function receiptVectors(): unknown {
  const domain: SettlementDomain = { chainId: 31_337, settlement: addressOf('settlement') }
  const receipts = receiptCases()
  return {
    source: SOURCE,
    generator: GENERATOR,
    domain,
    receipts: receipts.map(receiptVector),
    commitments: commitmentVectors(),
    heads: headCases(receipts).map((head) => headVector(head, domain)),
    clearings: clearingCases().map((clearing) => clearingVector(clearing, domain)),
  }
}

type ReceiptCase = { readonly name: string; readonly public: PublicReceipt; readonly private: PrivateReceipt }

/** Every source and every outcome, and the largest numbers there are. */
function receiptCases(): ReceiptCase[] {
  const sources = Object.keys(CLAIM_SOURCES) as (keyof typeof CLAIM_SOURCES)[]
  const outcomes = Object.keys(OUTCOMES) as (keyof typeof OUTCOMES)[]
  return outcomes.map((outcome, i) => {
    const source = sources[i % sources.length] ?? 'measured'
    const isLast = i === outcomes.length - 1
    return {
      name: `${source}, ${outcome}${isLast ? ', largest numbers' : ''}`,
      public: {
        version: 1,
        enclave: enclaveOfKey(keyOf(`gateway ${i}`)),
        model: hashName('test-model'),
        source,
        origin: source === 'proxied' ? hashName('api.example.com') : ZERO_HASH,
        request: toHex(word('request', i)),
        output: toHex(word('output', i)),
        nonce: toHex(word('nonce', i)),
        outcome,
      },
      private: {
        promptTokens: isLast ? UINT64_MAX : numberOf('prompt tokens', i),
        completionTokens: isLast ? UINT64_MAX : numberOf('completion tokens', i),
        prices: toHex(word('prices', 0)),
        fee: isLast ? UINT64_MAX : numberOf('fee', i),
        hour: isLast ? UINT64_MAX : 500_000n + BigInt(i),
        encapsulated: toHex(word('encapsulated', i)),
        toolCalls: toHex(word('tool calls', i)),
        response: toHex(word('response', i)),
      },
    }
  })
}

function receiptVector(receipt: ReceiptCase): unknown {
  const publicHash = hashPublicReceipt(receipt.public)
  const privateHash = hashPrivateReceipt(receipt.private)
  return {
    name: receipt.name,
    public: encodePublicReceipt(receipt.public),
    private: receipt.private,
    publicHash,
    privateHash,
    leaf: toHex(receiptLeaf(publicHash, privateHash)),
  }
}

function commitmentVectors(): unknown[] {
  const texts = ['', '{"messages":[{"role":"user","content":"Grüße, 世界"}]}', 'x'.repeat(300)]
  return COMMITMENT_KINDS.flatMap((kind, i) =>
    texts.map((text, j) => {
      const salt = word('salt', 10 * i + j)
      const data = encodeUtf8(text)
      return {
        kind,
        tag: COMMITMENT_TAGS[kind],
        salt: toHex(salt),
        data: toHex(data),
        commitment: toHex(commit(kind, salt, data)),
      }
    }),
  )
}

type HeadCase = { readonly head: Head; readonly privateKey: Uint8Array }

function headCases(receipts: readonly ReceiptCase[]): HeadCase[] {
  const sizes = [1n, 11n, 10_000n, SIZE_MAX]
  return sizes.flatMap((size, i) => {
    const privateKey = keyOf(`gateway ${i % receipts.length}`)
    const stated = { enclave: enclaveOfKey(privateKey), size, root: toHex(word('root', i)) }
    const fees = size === SIZE_MAX ? UINT64_MAX : numberOf('fees', i)
    return [
      { head: { kind: 'log', ...stated } as const, privateKey },
      { head: { kind: 'earnings', ...stated, fees } as const, privateKey },
    ]
  })
}

function headVector({ head, privateKey }: HeadCase, domain: SettlementDomain): unknown {
  return {
    ...head,
    fees: head.kind === 'earnings' ? head.fees : 0n,
    privateKey: toHex(privateKey),
    digest: hashHead(head, domain),
    ...signHead(head, domain, privateKey).signature,
    batchLeaf: toHex(batchLeaf(head.enclave, head.size, fromHex(head.root, 32))),
  }
}

function clearingCases(): Clearing[] {
  return [0, 1, 3].map((count, i) => ({
    keyset: toHex(word('keyset', i)),
    issued: count === 3 ? UINT64_MAX : 5_000n + BigInt(i),
    captured: count === 3 ? UINT64_MAX : 4_000n + BigInt(i),
    enclaves: Array.from({ length: count }, (_, j) => ({
      enclave: enclaveOfKey(keyOf(`gateway ${j}`)),
      captured: count === 3 && j === 2 ? UINT64_MAX : numberOf('captured', 10 * i + j),
    })),
  }))
}

function clearingVector(clearing: Clearing, domain: SettlementDomain): unknown {
  const privateKey = keyOf('issuer')
  const signed = signClearing(clearing, domain, privateKey)
  return {
    ...clearing,
    issuer: enclaveOfKey(privateKey),
    privateKey: toHex(privateKey),
    digest: hashClearing(clearing, domain),
    r: signed.r,
    vs: signed.vs,
  }
}

function statementVectors(): unknown {
  const domain = { chainId: 31_337, registry: addressOf('registry') }
  const statements = Object.values(ENCLAVE_ROLE).map((role, i) => {
    const privateKey = keyOf(`enclave ${i}`)
    const statement: EnclaveStatement = {
      role,
      enclave: enclaveOfKey(privateKey),
      keyConfigs: toHex(word('key configurations', i)),
      operator: addressOf(`operator ${i}`),
    }
    const digest = hashStatement(statement, domain)
    return {
      ...statement,
      privateKey: toHex(privateKey),
      digest,
      possession: expandSignature(signDigest(digest, privateKey)),
    }
  })
  return { source: SOURCE, generator: GENERATOR, domain, statements }
}

/** 32 bytes that follow from a label and a number. */
function word(label: string, index: number): Uint8Array {
  return keccak256(concatBytes(encodeUtf8(`sealpath vector: ${label} `), encodeUint(BigInt(index), 4)))
}

function keyOf(label: string): Uint8Array {
  return word(`${label}'s key`, 0)
}

function addressOf(label: string): Hex {
  return enclaveOfKey(keyOf(label))
}

/** A number of up to 32 bits. */
function numberOf(label: string, index: number): bigint {
  return decodeUint(word(label, index).subarray(0, 4))
}

/** Amounts may exceed what JSON numbers hold exactly, so they are decimal strings. */
function print(vectors: unknown): string {
  const text = JSON.stringify(vectors, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value), 2)
  return `${text}\n`
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const [name, text] of Object.entries(generateVectors())) writeFileSync(new URL(name, VECTORS_FOLDER), text)
}
