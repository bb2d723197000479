/**
 * Points of G1 and secret multiples of them by mcl's WebAssembly. Call `loadMcl` first. The plain implementation in protocol/credits is the oracle
 * of the tests.
 *
 * The package types all that is used of it but one: how it is told our domain separation tag (`setTag`).
 * @module
 */
import mcl, { type Fp, type Fr, type G1 } from 'mcl-wasm'
// Its internals, as a module of CommonJS.
import internals from 'mcl-wasm/dist/mcl.js'
import { concatBytes, encodeUtf8 } from '#protocol/bytes.ts'
import { CREDIT_DST, MESSAGE_BYTES } from '#protocol/credits/message.ts'
import { checkG1Encoding, decodeG1 } from '#protocol/credits/points.ts'

export type { Fr, G1 }

/** The module is one per thread, and so are its modes and its tag: nothing else uses it. */
let loading: Promise<void> | undefined
export function loadMcl(): Promise<void> {
  loading ??= mcl.init(mcl.BLS12_381).then(() => {
    mcl.setETHserialization(true)
    mcl.setMapToMode(mcl.IRTF)
    mcl.verifyOrderG1(true)
    setTag(encodeUtf8(CREDIT_DST))
  })
  return loading
}

/** `mclBnG1_setDst` of the library's C interface, which is exported and not typed. Hashing with the package's own tag and map would do, at 1.5 times the cost. */
function setTag(tag: Uint8Array): void {
  const { mod } = internals as unknown as { mod: { _mclBnG1_setDst(address: number, lengthBytes: number): number } }
  const stack = internals.stackSave()
  const status = mod._mclBnG1_setDst(internals.sallocBytes(tag), tag.length)
  internals.stackRestore(stack)
  if (status !== 0) throw new Error('mcl does not take the domain separation tag of credits')
}

/** `hashToG1` of protocol/credits. */
export function hashToPoint(message: Uint8Array): G1 {
  if (message.length !== MESSAGE_BYTES) throw new RangeError(`expected a message of ${MESSAGE_BYTES} bytes`)
  return mcl.hashAndMapToG1(message)
}

/** A compressed point that may be signed. Refuses what `decodeG1` refuses, with the same code. */
export function readPoint(bytes: Uint8Array): G1 {
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

const FIELD_BYTES = 48
/** x and y of a point, in mcl's own encoding of field elements. */
export const AFFINE_BYTES: number = 2 * FIELD_BYTES

/** The coordinates of a point that `readPoint` answered, so that it need not be decoded and checked again: that takes as long as signing it. */
export function writeAffine(point: G1): Uint8Array<ArrayBuffer> {
  return concatBytes(point.getX().serialize(), point.getY().serialize())
}

/** The point with these coordinates. They are `writeAffine`'s: only that they are on the curve is asked again, which is cheap. */
export function readAffine(bytes: Uint8Array): G1 {
  if (bytes.length !== AFFINE_BYTES) throw new RangeError(`expected coordinates of ${AFFINE_BYTES} bytes`)
  const [x, y] = [readField(bytes.subarray(0, FIELD_BYTES)), readField(bytes.subarray(FIELD_BYTES))]
  const [four, one] = [new mcl.Fp(), new mcl.Fp()]
  four.setInt(4)
  one.setInt(1)
  // Another point would give away bits of the key.
  if (!mcl.sqr(y).isEqual(mcl.add(mcl.mul(mcl.sqr(x), x), four))) throw new RangeError('expected a point on the curve')
  const point = new mcl.G1()
  point.setX(x)
  point.setY(y)
  point.setZ(one)
  return point
}

function readField(bytes: Uint8Array): Fp {
  const element = new mcl.Fp()
  element.deserialize(bytes)
  return element
}

export function readScalar(bytes: Uint8Array): Fr {
  const scalar = new mcl.Fr()
  scalar.setBigEndianMod(bytes)
  return scalar
}

/** Bytes that reduce to a uniform scalar. */
const WIDE_SCALAR_BYTES = 64

/**
 * key * point for each pair. mcl's time depends on the scalar, in its routine called constant-time too (0.03 ms for 1, 0.21 to 0.27 ms for others),
 * so it never sees a key: each is split anew into two shares, each uniform, and what they give is added.
 */
export function multiplySecret(pairs: readonly { readonly point: G1; readonly key: Fr }[]): G1[] {
  // Drawn together: a call of the system costs as much as the bytes of a hundred.
  const random = new Uint8Array(pairs.length * WIDE_SCALAR_BYTES)
  crypto.getRandomValues(random)
  const products = pairs.map(({ point, key }, i) => {
    const share = readScalar(random.subarray(i * WIDE_SCALAR_BYTES, (i + 1) * WIDE_SCALAR_BYTES))
    return mcl.mulVec([point, point], [share, mcl.sub(key, share)])
  })
  random.fill(0)
  return products
}
