/** Every hash and signature of a receipt beside ethers, an implementation that shares no code with ours. @module */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { AbiCoder, id, keccak256, recoverAddress, Signature, TypedDataEncoder, Wallet } from 'ethers'
import { expect, test } from 'vitest'
import { concatBytes, encodeUint, encodeUtf8, type Hex, toHex } from '../bytes.ts'
import { CLEARING_TYPES, type Clearing, hashClearing, signClearing } from './clearing.ts'
import { COMMITMENT_KINDS, COMMITMENT_TAGS, commit, deriveSalts } from './commitment.ts'
import {
  type EarningsHead,
  enclaveOfKey,
  expandSignature,
  HEAD_TYPES,
  type Head,
  hashHead,
  isSignedByEnclave,
  recoverSigner,
  signDigest,
  signHead,
} from './head.ts'
import {
  CLAIM_SOURCES,
  type ClaimSource,
  encodePublicReceipt,
  hashName,
  hashPrivateReceipt,
  hashPublicReceipt,
  OUTCOMES,
  type Outcome,
  type PrivateReceipt,
  type PublicReceipt,
  RECEIPT_TYPES,
  receiptLeaf,
} from './receipt.ts'

const UINT64_MAX = 2n ** 64n - 1n
const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const ETHERS_DOMAIN = { name: 'Sealpath', version: '1', chainId: 31_337, verifyingContract: DOMAIN.settlement }
const KEYS = Array.from({ length: 24 }, (_, i) => new Uint8Array(32).fill(i + 1))
const [KEY] = KEYS
if (KEY === undefined) throw new Error('expected a key')
const ENCLAVE = enclaveOfKey(KEY)

const PUBLIC: PublicReceipt = {
  version: 1,
  enclave: ENCLAVE,
  model: hash(1),
  source: 'measured',
  origin: hash(0),
  request: hash(2),
  output: hash(3),
  nonce: hash(4),
  outcome: 'complete',
}
const PRIVATE: PrivateReceipt = {
  promptTokens: 12n,
  completionTokens: 400n,
  prices: hash(5),
  fee: 31n,
  hour: 500_000n,
  encapsulated: hash(6),
  toolCalls: hash(7),
  response: hash(8),
}

function hash(byte: number): Hex {
  return toHex(new Uint8Array(32).fill(byte))
}

/** ethers takes its types as lists it may change. */
function mutable<T extends Record<string, readonly { name: string; type: string }[]>>(
  types: T,
): Record<string, { name: string; type: string }[]> {
  return Object.fromEntries(
    Object.entries(types).map(([name, fields]) => [name, fields.map((field) => ({ ...field }))]),
  )
}

test('agrees with ethers on the public half for every source and outcome', () => {
  const types = { PublicReceipt: mutable(RECEIPT_TYPES).PublicReceipt ?? [] }
  for (const source of Object.keys(CLAIM_SOURCES) as ClaimSource[]) {
    for (const outcome of Object.keys(OUTCOMES) as Outcome[]) {
      const receipt = { ...PUBLIC, source, outcome }
      const expected = TypedDataEncoder.hashStruct('PublicReceipt', types, encodePublicReceipt(receipt))
      expect(hashPublicReceipt(receipt)).toBe(expected)
    }
  }
})

test('agrees with ethers on the private half, at the ends of its range too', () => {
  const types = { PrivateReceipt: mutable(RECEIPT_TYPES).PrivateReceipt ?? [] }
  for (const amount of [0n, 1n, UINT64_MAX]) {
    const receipt = { ...PRIVATE, promptTokens: amount, completionTokens: amount, fee: amount, hour: amount }
    expect(hashPrivateReceipt(receipt)).toBe(TypedDataEncoder.hashStruct('PrivateReceipt', types, receipt))
  }
  expect(() => hashPrivateReceipt({ ...PRIVATE, fee: UINT64_MAX + 1n })).toThrow()
})

test('hashes the same whatever the case of the address', () => {
  const lower = { ...PUBLIC, enclave: ENCLAVE.toLowerCase() as Hex }
  expect(hashPublicReceipt(lower)).toBe(hashPublicReceipt(PUBLIC))
})

test('makes the leaf from tag, public and private hash in this order', () => {
  const [a, b] = [hashPublicReceipt(PUBLIC), hashPrivateReceipt(PRIVATE)]
  expect(toHex(receiptLeaf(a, b))).toBe(keccak256(`0x00${a.slice(2)}${b.slice(2)}`))
  expect(toHex(receiptLeaf(b, a))).not.toBe(toHex(receiptLeaf(a, b)))
})

test('names models by the hash of their UTF-8, hex-looking names too', () => {
  for (const name of ['demo', 'Modèle', '0x1234', '']) expect(hashName(name)).toBe(id(name))
})

const HEADS: readonly Head[] = [
  { kind: 'log', enclave: ENCLAVE, size: 1n, root: hash(9) },
  { kind: 'log', enclave: ENCLAVE, size: UINT64_MAX, root: hash(255) },
  { kind: 'earnings', enclave: ENCLAVE, size: 7n, root: hash(9), fees: 0n },
  { kind: 'earnings', enclave: ENCLAVE, size: 7n, root: hash(9), fees: UINT64_MAX },
]

test.each(HEADS)('agrees with ethers on the digest and the signature of a head: $kind $size', async (head) => {
  const name = head.kind === 'log' ? 'LogHead' : 'EarningsHead'
  const types = { [name]: mutable(HEAD_TYPES)[name] ?? [] }
  const { kind: _kind, ...message } = head
  const digest = hashHead(head, DOMAIN)
  expect(digest).toBe(TypedDataEncoder.hash(ETHERS_DOMAIN, types, message))
  const signed = signHead(head, DOMAIN, KEY)
  // Both sign by RFC 6979, so the bytes agree, not only the signer.
  expect(expandSignature(signed.signature)).toBe(
    await new Wallet(toHex(KEY)).signTypedData(ETHERS_DOMAIN, types, message),
  )
  expect(isSignedByEnclave(signed, DOMAIN)).toBe(true)
})

test('tells log heads from earnings heads of the same log', () => {
  const earnings: EarningsHead = { kind: 'earnings', enclave: ENCLAVE, size: 1n, root: hash(9), fees: 0n }
  const { fees: _fees, ...rest } = earnings
  expect(hashHead({ ...rest, kind: 'log' }, DOMAIN)).not.toBe(hashHead(earnings, DOMAIN))
})

test('binds a head to chain, contract and every field', () => {
  const head: Head = { kind: 'earnings', enclave: ENCLAVE, size: 7n, root: hash(9), fees: 5n }
  const signed = signHead(head, DOMAIN, KEY)
  expect(isSignedByEnclave(signed, { ...DOMAIN, chainId: 1 })).toBe(false)
  expect(isSignedByEnclave(signed, { ...DOMAIN, settlement: hash(1).slice(0, 42) as Hex })).toBe(false)
  const others: Partial<EarningsHead>[] = [
    { size: 8n },
    { root: hash(8) },
    { fees: 6n },
    { enclave: `0x${'11'.repeat(20)}` },
  ]
  for (const fields of others) {
    expect(isSignedByEnclave({ ...signed, head: { ...head, ...fields } }, DOMAIN)).toBe(false)
  }
})

test('agrees with ethers on compact signatures of either parity', () => {
  const parities = new Set<string>()
  for (const key of KEYS) {
    const digest = toHex(new Uint8Array(32).fill(key[0] ?? 0))
    const compact = signDigest(digest, key)
    const ours = Signature.from(expandSignature(compact))
    expect(ours.compactSerialized).toBe(`${compact.r}${compact.vs.slice(2)}`)
    expect(recoverAddress(digest, ours)).toBe(enclaveOfKey(key))
    expect(recoverSigner(digest, compact)).toBe(enclaveOfKey(key))
    expect(enclaveOfKey(key)).toBe(new Wallet(toHex(key)).address)
    parities.add(ours.v.toString())
  }
  expect(parities).toEqual(new Set(['27', '28']))
})

test('recovers nobody from what is no signature', () => {
  const digest = hash(3)
  const good = signDigest(digest, KEY)
  const n = secp256k1.Point.CURVE().n
  const word = (value: bigint): Hex => toHex(encodeUint(value, 32))
  const bad = [
    { ...good, r: hash(0) },
    { ...good, r: word(n) },
    { ...good, r: hash(255) },
    { ...good, vs: hash(0) },
    { ...good, r: '0x' as Hex },
    { ...good, vs: `${good.vs}00` as Hex },
    { ...good, vs: 'nonsense' as Hex },
  ]
  for (const signature of bad) expect(recoverSigner(digest, signature)).toBeUndefined()
  expect(recoverSigner('0x12', good)).toBeUndefined()
})

test('recovers somebody else after any one bit of digest or signature is flipped', () => {
  const digest = hash(3)
  const good = signDigest(digest, KEY)
  for (let bit = 0; bit < 256; bit += 5) {
    expect(recoverSigner(flip(digest, bit), good)).not.toBe(ENCLAVE)
    expect(recoverSigner(digest, { ...good, r: flip(good.r, bit) })).not.toBe(ENCLAVE)
    expect(recoverSigner(digest, { ...good, vs: flip(good.vs, bit) })).not.toBe(ENCLAVE)
  }
})

function flip(hex: Hex, bit: number): Hex {
  const digit = 2 + (bit >> 2)
  const changed = Number.parseInt(hex[digit] ?? '0', 16) ^ (1 << (bit & 3))
  return `${hex.slice(0, digit)}${changed.toString(16)}${hex.slice(digit + 1)}` as Hex
}

test.each([0, 1, 3])('agrees with ethers on a clearing over %s enclaves', async (count) => {
  const clearing: Clearing = {
    keyset: hash(11),
    issued: UINT64_MAX,
    captured: 42n,
    enclaves: KEYS.slice(0, count).map((key, i) => ({ enclave: enclaveOfKey(key), captured: BigInt(i) })),
  }
  const types = mutable(CLEARING_TYPES)
  expect(hashClearing(clearing, DOMAIN)).toBe(TypedDataEncoder.hash(ETHERS_DOMAIN, types, clearing))
  const { r, vs } = signClearing(clearing, DOMAIN, KEY)
  expect(expandSignature({ r, vs })).toBe(await new Wallet(toHex(KEY)).signTypedData(ETHERS_DOMAIN, types, clearing))
})

test('commits to tag, salt, length and data, each kind under a tag of its own', () => {
  const salt = new Uint8Array(32).fill(7)
  const data = encodeUtf8('hello')
  for (const kind of COMMITMENT_KINDS) {
    const preimage = concatBytes(Uint8Array.of(COMMITMENT_TAGS[kind]), salt, encodeUint(5n, 8), data)
    expect(toHex(commit(kind, salt, data))).toBe(keccak256(preimage))
  }
  expect(new Set(Object.values(COMMITMENT_TAGS)).size).toBe(COMMITMENT_KINDS.length)
  expect(() => commit('request', salt.subarray(1), data)).toThrow(RangeError)
})

test('asks for one salt of 32 bytes per kind, under different labels', async () => {
  const labels: string[] = []
  const salts = await deriveSalts(async (label, length) => {
    labels.push(label)
    return new Uint8Array(length).fill(labels.length)
  })
  expect(new Set(labels).size).toBe(COMMITMENT_KINDS.length)
  expect(new Set(Object.values(salts).map(toHex)).size).toBe(COMMITMENT_KINDS.length)
  for (const kind of COMMITMENT_KINDS) expect(salts[kind]).toHaveLength(32)
})

test('encodes the version and the numbers of the enumerations as the contracts count them', () => {
  const encoded = AbiCoder.defaultAbiCoder().encode(
    ['uint16', 'uint8', 'uint8'],
    [PUBLIC.version, CLAIM_SOURCES.operator, OUTCOMES.filtered],
  )
  expect(BigInt(encoded.slice(0, 66))).toBe(1n)
  expect([CLAIM_SOURCES, OUTCOMES]).toEqual([
    { measured: 1, proxied: 2, operator: 3 },
    { complete: 1, length: 2, toolCalls: 3, cut: 4, filtered: 5 },
  ])
})
