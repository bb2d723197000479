/** Secret scalars of the group: issuer keys and blinding factors, from 1 below the order r. @module */
import { decodeUint, encodeUint } from '../bytes.ts'
import { CreditError } from './creditError.ts'
import { GROUP_ORDER } from './points.ts'

export const SCALAR_BYTES = 32

/** 32 bytes, big-endian, to a scalar. Throws `CreditError` (`SCALAR_OUT_OF_RANGE`) for any other length, for 0 and from r up. */
export function decodeScalar(bytes: Uint8Array): bigint {
  if (bytes.length !== SCALAR_BYTES) throw outOfRange()
  return checkScalar(decodeUint(bytes))
}

/** The scalar as 32 bytes, big-endian. */
export function encodeScalar(scalar: bigint): Uint8Array<ArrayBuffer> {
  return encodeUint(checkScalar(scalar), SCALAR_BYTES)
}

/** The scalar itself if it is in range. */
export function checkScalar(scalar: bigint): bigint {
  if (scalar <= 0n || scalar >= GROUP_ORDER) throw outOfRange()
  return scalar
}

/**
 * Wide bytes to 1 … order - 1, each as likely up to a bias below 2^-128: `wide` has at least 16 bytes more than
 * the order (the condition of RFC 9380 section 5.1 and FIPS 186-5 appendix A.2.1). Never zero.
 */
export function reduceWide(wide: Uint8Array, order: bigint): bigint {
  return (decodeUint(wide) % (order - 1n)) + 1n
}

function outOfRange(): CreditError {
  return new CreditError('SCALAR_OUT_OF_RANGE', 'expected a scalar of 32 bytes from 1 below the order of the group')
}
