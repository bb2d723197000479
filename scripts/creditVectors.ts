/**
 * Writes the vectors of credits that TypeScript and Solidity read: test/vectors/credits.json. Everything in it follows from the labels
 * below, so that the same code writes the same bytes. Run: `node scripts/creditVectors.ts`.
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { expand_message_xmd } from '@noble/curves/abstract/hash-to-curve.js'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, decodeUint, encodeUint, encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, splitChange } from '#protocol/credits/amounts.ts'
import { blindMessage, publicKeyOf, signBlinded, unblindSignature } from '#protocol/credits/blindSignature.ts'
import { encodeChange } from '#protocol/credits/change.ts'
import { type DerivationPath, deriveCredit } from '#protocol/credits/derivation.ts'
import { EXIT_SECONDS_MIN, hashKey, hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { CREDIT_DST, creditMessage, hashToG1 } from '#protocol/credits/message.ts'
import { encodePayment, type Payment, paymentId } from '#protocol/credits/payment.ts'
import {
  encodeEip2537G1,
  encodeEip2537G2,
  encodeG1,
  encodeG2,
  type G1Point,
  GROUP_ORDER,
} from '#protocol/credits/points.ts'
import { encodeScalar, reduceWide } from '#protocol/credits/scalar.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'

const FILE = new URL('../test/vectors/credits.json', import.meta.url)
const SOURCE =
  'Our own formats (docs/spec.md), made by the code in offchain/protocol/credits; hashing to G1 is RFC 9380 section 8.8.1 with our own tag, points on chain are in the form of EIP-2537.'
const GENERATOR = 'scripts/creditVectors.ts; do not edit: offchain/protocol/credits/vectors.test.ts compares it'

/** The text of the vector file. */
export function generateCreditVectors(): string {
  const issuer = issuerOf()
  return print({
    source: SOURCE,
    generator: GENERATOR,
    dst: CREDIT_DST,
    keyset: keysetVector(issuer),
    seed: toHex(SEED),
    outputs: outputCases().map((output) => outputOf(issuer, output).vector),
    ...paymentVectors(issuer),
    refusedPoints: refusedPoints(),
  })
}

/** The vector file as it stands on disk. */
export function readCreditVectors(): string {
  return readFileSync(FILE, 'utf8')
}

const SEED = word('seed', 0)

type Issuer = { readonly keyset: Keyset; readonly id: Hex; readonly secretKeys: readonly bigint[] }

function issuerOf(): Issuer {
  const secretKeys = Array.from({ length: 24 }, (_, i) =>
    reduceWide(concatBytes(word('key', 2 * i), word('key', 2 * i + 1)), GROUP_ORDER),
  )
  const keyset = {
    chainId: 31_337,
    vault: addressOf('vault'),
    keys: secretKeys.map(publicKeyOf),
    signUntil: 1_800_000_000,
    spendUntil: 1_810_000_000,
    exitUntil: 1_810_000_000 + EXIT_SECONDS_MIN,
  }
  return { keyset, id: hashKeyset(keyset), secretKeys }
}

function keysetVector({ keyset, id, secretKeys }: Issuer): unknown {
  const { chainId, vault, keys, signUntil, spendUntil, exitUntil } = keyset
  return {
    id,
    chainId,
    vault,
    signUntil,
    spendUntil,
    exitUntil,
    keys: keys.map((key, exponent) => ({
      exponent,
      secretKey: toHex(encodeScalar(secretKeys[exponent] ?? 0n)),
      compressed: toHex(encodeG2(key)),
      eip2537: toHex(encodeEip2537G2(key)),
      hash: toHex(hashKey(key)),
    })),
  }
}

type OutputCase = { readonly path: DerivationPath; readonly counter: number; readonly exponent: number }

/** Both paths, small and large counters, the smallest and the largest denomination. */
function outputCases(): OutputCase[] {
  return [
    { path: 'purchase', counter: 0, exponent: 23 },
    { path: 'purchase', counter: 1, exponent: 0 },
    { path: 'purchase', counter: 2, exponent: 0 },
    { path: 'purchase', counter: 2 ** 32, exponent: 12 },
    { path: 'change', counter: 0, exponent: 0 },
    { path: 'change', counter: 1, exponent: 23 },
  ]
}

type Output = {
  readonly secret: Uint8Array
  readonly exitKey: Hex
  readonly exponent: number
  readonly signature: G1Point
}

/** One credit from seed to signature, with everything in between. */
function outputOf(issuer: Issuer, { path, counter, exponent }: OutputCase): { vector: unknown; output: Output } {
  const { secret, exitPrivateKey, exitKey, blinding } = deriveCredit(SEED, path, issuer.id, counter)
  const { chainId, vault } = issuer.keyset
  const message = creditMessage({ chainId, vault, keyset: issuer.id }, exitKey, secret)
  const expanded = expand_message_xmd(message, encodeUtf8(CREDIT_DST), 128, sha256)
  const point = hashToG1(message)
  const blinded = blindMessage(message, blinding)
  const blindSignature = signBlinded(blinded, issuer.secretKeys[exponent] ?? 0n)
  const signature = unblindSignature(blindSignature, blinding)
  const vector = {
    path,
    counter,
    exponent,
    secret: toHex(secret),
    secretHash: toHex(keccak256(secret)),
    exitPrivateKey: toHex(exitPrivateKey),
    exitKey,
    blinding: toHex(encodeScalar(blinding)),
    message: toHex(message),
    expanded: toHex(expanded),
    fieldElements: [expanded.subarray(0, 64), expanded.subarray(64)].map((wide) =>
      toHex(encodeUint(decodeUint(wide) % bls12_381.fields.Fp.ORDER, 64)),
    ),
    point: bothForms(point),
    blinded: bothForms(blinded),
    blindSignature: bothForms(blindSignature),
    signature: bothForms(signature),
  }
  return { vector, output: { secret, exitKey, exponent, signature } }
}

function bothForms(point: G1Point): unknown {
  return { compressed: toHex(encodeG1(point)), eip2537: toHex(encodeEip2537G1(point)) }
}

/** A payment of three credits with all its blanks, its change after a fee, and the change of a release. */
function paymentVectors(issuer: Issuer): { payment: unknown; changes: unknown } {
  const exponents = [10, 3, 3]
  const credits = exponents.map(
    (exponent, i) => outputOf(issuer, { path: 'purchase', counter: 10 + i, exponent }).output,
  )
  const blanks = Array.from({ length: BLANK_SLOTS }, (_, i) => blankOf(issuer, 10 + i))
  const payment: Payment = {
    keyset: issuer.id,
    enclave: addressOf('gateway'),
    maximumFee: 992n,
    credits: credits.map((credit) => ({ ...credit, signature: encodeG1(credit.signature) })),
    blanks: blanks.map(encodeG1),
  }
  const encoded = encodePayment(payment)
  const changes = [832n, 0n].map((fee) => {
    const signatures = splitChange(exponents, fee).map((exponent, i) => ({
      exponent,
      blindSignature: encodeG1(signBlinded(blanks[i] ?? bls12_381.G1.Point.ZERO, issuer.secretKeys[exponent] ?? 0n)),
    }))
    return {
      fee,
      signatures: signatures.map((signature) => ({ ...signature, blindSignature: toHex(signature.blindSignature) })),
      encoded: toHex(encodeChange({ fee, signatures })),
    }
  })
  return {
    payment: {
      ...payment,
      firstChangeCounter: 10,
      credits: payment.credits.map(({ exponent, secret, exitKey, signature }) => ({
        exponent,
        secret: toHex(secret),
        exitKey,
        signature: toHex(signature),
      })),
      blanks: payment.blanks.map(toHex),
      encoded: toHex(encoded),
      id: paymentId(encoded),
    },
    changes,
  }
}

function blankOf({ keyset, id }: Issuer, counter: number): G1Point {
  const { secret, exitKey, blinding } = deriveCredit(SEED, 'change', id, counter)
  return blindMessage(creditMessage({ ...keyset, keyset: id }, exitKey, secret), blinding)
}

/** What no reader may take for a point of G1, in the form of EIP-2537, with the code that says why. */
function refusedPoints(): unknown[] {
  const p = bls12_381.fields.Fp.ORDER
  const { x, y } = bls12_381.G1.Point.BASE.toAffine()
  const encode = (a: bigint, b: bigint): Hex => toHex(concatBytes(encodeUint(a, 64), encodeUint(b, 64)))
  return [
    { name: 'identity', code: 'POINT_IDENTITY', eip2537: encode(0n, 0n) },
    { name: 'off the curve', code: 'POINT_NOT_ON_CURVE', eip2537: encode(x, y + 1n) },
    { name: 'of order three', code: 'POINT_NOT_IN_SUBGROUP', eip2537: encode(0n, 2n) },
    { name: 'x not below the prime', code: 'POINT_NOT_CANONICAL', eip2537: encode(x + p, y) },
    { name: 'y not below the prime', code: 'POINT_NOT_CANONICAL', eip2537: encode(x, y + p) },
    { name: 'padding not zero', code: 'POINT_NOT_CANONICAL', eip2537: encode(x + (1n << 384n), y) },
  ]
}

/** 32 bytes that follow from a label and a number. */
function word(label: string, index: number): Uint8Array {
  return keccak256(concatBytes(encodeUtf8(`sealpath credit vector: ${label} `), encodeUint(BigInt(index), 4)))
}

function addressOf(label: string): Hex {
  return enclaveOfKey(word(`${label}'s key`, 0))
}

/** Amounts may exceed what JSON numbers hold exactly, so they are decimal strings. */
function print(vectors: unknown): string {
  const text = JSON.stringify(vectors, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value), 2)
  return `${text}\n`
}

if (process.argv[1] === new URL(import.meta.url).pathname) writeFileSync(FILE, generateCreditVectors())
