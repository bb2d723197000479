/**
 * The issuer's arithmetic on credits, by mcl's WebAssembly: about six times as fast as the plain implementation in
 * protocol/credits, which stays the oracle of the tests. Everything here is synchronous; `signerPool.ts` takes it off the event loop.
 *
 * Only what the package types is used: its map to the curve with a domain separation tag of our own, and sums of two multiples, so
 * that the time taken says nothing about a secret key (`multiply`).
 * @module
 */
import { expand_message_xmd } from '@noble/curves/abstract/hash-to-curve.js'
import { sha256 } from '@noble/hashes/sha2.js'
import mcl, { type Fr, type G1 } from 'mcl-wasm'
import { encodeUtf8, equalSecret } from '#protocol/bytes.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { CREDIT_DST, MESSAGE_BYTES } from '#protocol/credits/message.ts'
import { checkG1Encoding, decodeG1 } from '#protocol/credits/points.ts'
import { decodeScalar } from '#protocol/credits/scalar.ts'

/** A credit to check: 2^exponent units, its message (32 bytes), the compressed signature (48 bytes). */
export type CreditToVerify = {
  readonly exponent: number
  readonly message: Uint8Array
  readonly signature: Uint8Array
}

/** A blank to sign for 2^exponent units: the compressed blinded point (48 bytes). */
export type BlankToSign = { readonly exponent: number; readonly blinded: Uint8Array }

export type CreditSigner = {
  /** Which of the credits carry the signature of their denomination's key. An exponent without a key is no credit. */
  verifyCredits(credits: readonly CreditToVerify[]): boolean[]
  /** Which of the blanks are points that may be signed. Ask before reserving: afterwards it is too late to refuse. */
  checkBlanks(blanks: readonly Uint8Array[]): boolean[]
  /** The blind signatures, compressed. Throws `CreditError` (`POINT_…`, `BAD_EXPONENT`) and signs none if any cannot be signed. */
  signBlanks(blanks: readonly BlankToSign[]): Uint8Array[]
}

/** A signer under these secret keys (32 bytes each, big-endian), `secretKeys[i]` for 2^i units. Throws `CreditError` for a bad key. */
export async function createSigner(secretKeys: readonly Uint8Array[]): Promise<CreditSigner> {
  for (const key of secretKeys) decodeScalar(key)
  await load()
  const keys = secretKeys.map(readKey)
  return {
    verifyCredits: (credits) =>
      credits.map(({ exponent, message, signature }) => {
        const key = keys[exponent]
        // There is one signature and one encoding of it: comparing bytes decides, and no point needs decoding.
        return key !== undefined && equalSecret(multiply(hashToPoint(message), key).serialize(), signature)
      }),
    checkBlanks: (blanks) => blanks.map(isPoint),
    signBlanks: (blanks) => {
      const pairs = blanks.map(({ exponent, blinded }) => {
        const key = keys[exponent]
        if (key === undefined) throw new CreditError('BAD_EXPONENT', `there is no key for 2^${exponent} units`)
        return { key, point: readPoint(blinded) }
      })
      return pairs.map(({ key, point }) => multiply(point, key).serialize())
    },
  }
}

/** The module is one per thread, and so are its modes: nothing else here uses it. */
let loading: Promise<void> | undefined
function load(): Promise<void> {
  loading ??= mcl.init(mcl.BLS12_381).then(() => {
    mcl.setETHserialization(true)
    mcl.setMapToMode(mcl.IRTF)
    mcl.verifyOrderG1(true)
  })
  return loading
}

const DST = encodeUtf8(CREDIT_DST)
/** L of RFC 9380 section 8.8.1: bytes per field element before reduction. */
const WIDE_FIELD_BYTES = 64

/** `hashToG1` of protocol/credits: hash_to_field of RFC 9380 section 5.2, each element mapped and cleared, then added. */
function hashToPoint(message: Uint8Array): G1 {
  if (message.length !== MESSAGE_BYTES) throw new RangeError(`expected a message of ${MESSAGE_BYTES} bytes`)
  const wide = expand_message_xmd(message, DST, 2 * WIDE_FIELD_BYTES, sha256)
  return mcl.add(mapToPoint(wide.subarray(0, WIDE_FIELD_BYTES)), mapToPoint(wide.subarray(WIDE_FIELD_BYTES)))
}

function mapToPoint(wide: Uint8Array): G1 {
  const element = new mcl.Fp()
  element.setBigEndianMod(wide)
  return element.mapToG1()
}

/** A point that may be signed. Refuses what `decodeG1` refuses, with the same code. */
function readPoint(bytes: Uint8Array): G1 {
  checkG1Encoding(bytes)
  const point = new mcl.G1()
  try {
    point.deserialize(bytes)
  } catch (cause) {
    decodeG1(bytes)
    throw new Error('mcl refuses a point that the plain implementation accepts', { cause })
  }
  return point
}

function isPoint(bytes: Uint8Array): boolean {
  try {
    readPoint(bytes)
    return true
  } catch (error) {
    if (error instanceof CreditError) return false
    throw error
  }
}

function readKey(bytes: Uint8Array): Fr {
  const key = new mcl.Fr()
  key.setBigEndianMod(bytes)
  return key
}

/** Bytes that reduce to a uniform scalar. */
const WIDE_SCALAR_BYTES = 64

/**
 * key * point. mcl's time depends on the scalar, in its routine called constant-time too (0.03 ms for 1, 0.21 to 0.27 ms for others),
 * so it never sees the key: each call splits it anew into two shares, each uniform, and adds what they give.
 */
function multiply(point: G1, key: Fr): G1 {
  const share = new mcl.Fr()
  share.setBigEndianMod(crypto.getRandomValues(new Uint8Array(WIDE_SCALAR_BYTES)))
  return mcl.mulVec([point, point], [share, mcl.sub(key, share)])
}
