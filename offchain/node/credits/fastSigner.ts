/**
 * The issuer's arithmetic on credits, by mcl's WebAssembly (mclPoints.ts): about six times as fast as the plain implementation in
 * protocol/credits, which stays the oracle of the tests. Everything here is synchronous; `signerPool.ts` takes it off the event loop.
 *
 * Credits are verified one by one, each signature computed anew and its encoding compared. One sum with random weights over all of them would need
 * every signature decoded and checked for the subgroup first, and that alone (0.24 ms) is most of what computing it takes (0.30 ms).
 * @module
 */
import { equalSecret } from '#protocol/bytes.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { decodeScalar } from '#protocol/credits/scalar.ts'
import {
  type Fr,
  hashToPoint,
  loadMcl,
  multiplySecret,
  readAffine,
  readPoint,
  readScalar,
  writeAffine,
} from './mclPoints.ts'

/** A credit to check: 2^exponent units, its message (32 bytes), the compressed signature (48 bytes). */
export type CreditToVerify = {
  readonly exponent: number
  readonly message: Uint8Array
  readonly signature: Uint8Array
}

declare const isChecked: unique symbol
/** A blank that `checkBlanks` found good, decoded: 96 bytes that never leave the process. */
export type CheckedBlank = Uint8Array & { readonly [isChecked]: true }

/** A blank to sign for 2^exponent units: the compressed blinded point (48 bytes), or what `checkBlanks` made of it. */
export type BlankToSign = { readonly exponent: number } & (
  | { readonly blinded: Uint8Array }
  | { readonly checked: CheckedBlank }
)

export type CreditSigner = {
  /** Which of the credits carry the signature of their denomination's key. An exponent without a key is no credit. */
  verifyCredits(credits: readonly CreditToVerify[]): boolean[]
  /** The blanks that may be signed, decoded; undefined for every other. Ask before reserving: afterwards it is too late to refuse. */
  checkBlanks(blanks: readonly Uint8Array[]): (CheckedBlank | undefined)[]
  /** The blind signatures, compressed. Throws `CreditError` (`POINT_…`, `BAD_EXPONENT`) and signs none if any cannot be signed. */
  signBlanks(blanks: readonly BlankToSign[]): Uint8Array[]
}

/** A signer under these secret keys (32 bytes each, big-endian), `secretKeys[i]` for 2^i units. Throws `CreditError` for a bad key. */
export async function createSigner(secretKeys: readonly Uint8Array[]): Promise<CreditSigner> {
  for (const key of secretKeys) decodeScalar(key)
  await loadMcl()
  const keys = secretKeys.map(readScalar)
  return {
    verifyCredits: (credits) => verifyCredits(keys, credits),
    checkBlanks: (blanks) => blanks.map(checkBlank),
    signBlanks: (blanks) => {
      const pairs = blanks.map((blank) => {
        const key = keys[blank.exponent]
        if (key === undefined) throw new CreditError('BAD_EXPONENT', `there is no key for 2^${blank.exponent} units`)
        return { key, point: 'checked' in blank ? readAffine(blank.checked) : readPoint(blank.blinded) }
      })
      return multiplySecret(pairs).map((point) => point.serialize())
    },
  }
}

function verifyCredits(keys: readonly Fr[], credits: readonly CreditToVerify[]): boolean[] {
  const pairs = credits.flatMap(({ exponent, message }) => {
    const key = keys[exponent]
    return key === undefined ? [] : [{ key, point: hashToPoint(message) }]
  })
  const expected = multiplySecret(pairs).values()
  return credits.map(({ exponent, signature }) => {
    if (keys[exponent] === undefined) return false
    // There is one signature and one encoding of it: comparing bytes decides, and no point needs decoding.
    const next = expected.next()
    return next.done !== true && equalSecret(next.value.serialize(), signature)
  })
}

function checkBlank(bytes: Uint8Array): CheckedBlank | undefined {
  try {
    // The one place where the brand is given.
    return writeAffine(readPoint(bytes)) as Uint8Array as CheckedBlank
  } catch (error) {
    if (error instanceof CreditError) return undefined
    throw error
  }
}
