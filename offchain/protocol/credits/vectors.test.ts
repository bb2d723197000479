/** test/vectors/credits.json, which Solidity reads too: recomputed from its inputs alone, by other paths where there are any. @module */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { encodeAbiParameters, keccak256 as viemKeccak256 } from 'viem'
import { privateKeyToAddress } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import { generateCreditVectors, readCreditVectors } from '../../../scripts/creditVectors.ts'
import { encodeUtf8, fromHex, type Hex, toHex } from '../bytes.ts'
import { publicKeyOf, unblindSignature, verifySignature, verifyWithSecretKey } from './blindSignature.ts'
import { decodeChange, verifyChange } from './change.ts'
import { type DerivationPath, deriveCredit } from './derivation.ts'
import { hashKeyset, type Keyset } from './keyset.ts'
import { CREDIT_DST, creditMessage } from './message.ts'
import { decodePayment, encodePayment, paymentId } from './payment.ts'
import { decodeEip2537G1, decodeEip2537G2, decodeG1, decodeG2, type G1Point } from './points.ts'
import { decodeScalar } from './scalar.ts'

type Forms = { compressed: Hex; eip2537: Hex }
type Vectors = {
  dst: string
  seed: Hex
  keyset: Omit<Keyset, 'keys'> & { id: Hex; keys: ({ exponent: number; secretKey: Hex; hash: Hex } & Forms)[] }
  outputs: ({ path: DerivationPath; counter: number; exponent: number } & Record<
    'secret' | 'secretHash' | 'exitPrivateKey' | 'exitKey' | 'blinding' | 'message' | 'expanded',
    Hex
  > & { fieldElements: Hex[] } & Record<'point' | 'blinded' | 'blindSignature' | 'signature', Forms>)[]
  payment: {
    keyset: Hex
    enclave: Hex
    maximumFee: string
    firstChangeCounter: number
    credits: { exponent: number; secret: Hex; exitKey: Hex; signature: Hex }[]
    blanks: Hex[]
    encoded: Hex
    id: Hex
  }
  changes: { fee: string; signatures: { exponent: number; blindSignature: Hex }[]; encoded: Hex }[]
  refusedPoints: { name: string; code: string; eip2537: Hex }[]
}

const vectors = JSON.parse(readCreditVectors()) as Vectors
const { keyset, outputs, payment } = vectors
const domain = { chainId: keyset.chainId, vault: keyset.vault, keyset: keyset.id }
const parsedKeyset: Keyset = { ...keyset, keys: keyset.keys.map((key) => decodeG2(fromHex(key.compressed))) }

it('is what the generator writes', () => {
  expect(readCreditVectors()).toBe(generateCreditVectors())
})

describe('the keyset', () => {
  it('has its keys in both forms, each of its secret key', () => {
    for (const key of keyset.keys) {
      const point = publicKeyOf(decodeScalar(fromHex(key.secretKey)))
      expect(decodeG2(fromHex(key.compressed)).equals(point)).toBe(true)
      expect(decodeEip2537G2(fromHex(key.eip2537)).equals(point)).toBe(true)
      expect(key.hash).toBe(viemKeccak256(key.eip2537))
    }
  })

  it('has its id', () => {
    expect(hashKeyset(parsedKeyset)).toBe(keyset.id)
  })
})

describe.each(outputs)('the output $counter for $path', (output) => {
  it('derives from the seed', () => {
    const derived = deriveCredit(fromHex(vectors.seed), output.path, keyset.id, output.counter)
    expect(toHex(derived.secret)).toBe(output.secret)
    expect(toHex(derived.exitPrivateKey)).toBe(output.exitPrivateKey)
    expect(derived.exitKey).toBe(output.exitKey)
    expect(privateKeyToAddress(output.exitPrivateKey)).toBe(output.exitKey)
    expect(derived.blinding).toBe(decodeScalar(fromHex(output.blinding)))
  })

  it('has the message that abi.encode makes', () => {
    const types = ['bytes32', 'uint256', 'address', 'bytes32', 'address', 'bytes32'].map((type) => ({ type }))
    const tag = viemKeccak256(encodeUtf8('Sealpath credit v1'))
    expect(viemKeccak256(output.secret)).toBe(output.secretHash)
    const values = [tag, BigInt(keyset.chainId), keyset.vault, keyset.id, output.exitKey, output.secretHash]
    expect(viemKeccak256(encodeAbiParameters(types, values))).toBe(output.message)
    expect(toHex(creditMessage(domain, output.exitKey, fromHex(output.secret)))).toBe(output.message)
  })

  it('maps its field elements to its point', () => {
    expect(vectors.dst).toBe(CREDIT_DST)
    const elements = output.fieldElements.map((element) => BigInt(element))
    const wide = [output.expanded.slice(2, 130), output.expanded.slice(130)]
    expect(wide.map((half) => BigInt(`0x${half}`) % bls12_381.fields.Fp.ORDER)).toEqual(elements)
    const sum = elements.map(mapToG1).reduce((a, b) => a.add(b), bls12_381.G1.Point.ZERO)
    expect(sum.equals(decodeG1(fromHex(output.point.compressed)))).toBe(true)
  })

  it('has every point in both forms', () => {
    for (const { compressed, eip2537 } of [output.point, output.blinded, output.blindSignature, output.signature]) {
      expect(decodeG1(fromHex(compressed)).equals(decodeEip2537G1(fromHex(eip2537)))).toBe(true)
    }
  })

  it('is signed, blind and not', () => {
    const blinding = decodeScalar(fromHex(output.blinding))
    const secretKey = decodeScalar(fromHex(keyset.keys[output.exponent]?.secretKey ?? '0x'))
    const point = decodeG1(fromHex(output.point.compressed))
    const blinded = decodeG1(fromHex(output.blinded.compressed))
    const blindSignature = decodeG1(fromHex(output.blindSignature.compressed))
    const signature = decodeG1(fromHex(output.signature.compressed))
    const message = fromHex(output.message)
    expect(point.multiply(blinding).equals(blinded)).toBe(true)
    expect(blinded.multiply(secretKey).equals(blindSignature)).toBe(true)
    expect(unblindSignature(blindSignature, blinding).equals(signature)).toBe(true)
    expect(verifyWithSecretKey(message, fromHex(output.signature.compressed), secretKey)).toBe(true)
    expect(verifySignature(message, signature, publicKeyOf(secretKey))).toBe(true)
  })
})

describe('the payment', () => {
  const decoded = decodePayment(fromHex(payment.encoded))

  it('has its encoding and its id', () => {
    const stated = {
      ...payment,
      maximumFee: BigInt(payment.maximumFee),
      credits: payment.credits.map((credit) => ({
        ...credit,
        secret: fromHex(credit.secret),
        signature: fromHex(credit.signature),
      })),
      blanks: payment.blanks.map((blank) => fromHex(blank)),
    }
    expect(toHex(encodePayment(stated))).toBe(payment.encoded)
    expect(paymentId(fromHex(payment.encoded))).toBe(payment.id)
    expect(viemKeccak256(payment.encoded)).toBe(payment.id)
  })

  it('carries credits of the keyset', () => {
    for (const { exponent, secret, exitKey, signature } of decoded.credits) {
      const secretKey = decodeScalar(fromHex(keyset.keys[exponent]?.secretKey ?? '0x'))
      expect(verifyWithSecretKey(creditMessage(domain, exitKey, secret), signature, secretKey)).toBe(true)
    }
  })

  it.each(vectors.changes)('has change after a fee of $fee, which becomes credits', ({ fee, signatures, encoded }) => {
    const change = decodeChange(fromHex(encoded))
    expect(change.fee).toBe(BigInt(fee))
    expect(change.signatures.map((s) => ({ ...s, blindSignature: toHex(s.blindSignature) }))).toEqual(signatures)
    const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length))
    expect(verifyChange(decoded, change, parsedKeyset, random)).toEqual({ ok: true })
    for (const [i, { exponent, blindSignature }] of change.signatures.entries()) {
      const counter = payment.firstChangeCounter + i
      const { secret, exitKey, blinding } = deriveCredit(fromHex(vectors.seed), 'change', keyset.id, counter)
      const signature = unblindSignature(decodeG1(blindSignature), blinding)
      const publicKey = parsedKeyset.keys[exponent]
      if (publicKey === undefined) throw new Error('expected a key')
      expect(verifySignature(creditMessage(domain, exitKey, secret), signature, publicKey)).toBe(true)
    }
  })
})

it.each(vectors.refusedPoints)('names a point that is refused: $name', ({ code, eip2537 }) => {
  expect(() => decodeEip2537G1(fromHex(eip2537))).toThrow(expect.objectContaining({ code }))
})

/** map_to_curve and clear_cofactor of one element, as the precompile of EIP-2537 does it. noble takes one here, whatever its types say. */
function mapToG1(element: bigint): G1Point {
  const map = bls12_381.G1.mapToCurve as unknown as (element: bigint) => G1Point
  return map(element)
}
