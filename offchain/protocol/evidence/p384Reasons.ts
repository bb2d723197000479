/** Why the P-384 verifier reverts: the argument of `P384Refused(uint256)`. Twin of contracts/attestation/p384/P384.sol. @module */

export const P384_REASONS = {
  SIGNATURE_RANGE: 1,
  KEY_RANGE: 2,
  KEY_NOT_ON_CURVE: 3,
  POINT_RANGE: 4,
  POINT_NOT_ON_CURVE: 5,
  SLOPE: 6,
  EXCEPTIONAL: 7,
  STREAM: 8,
  SUM: 9,
  LENGTH: 10,
  WEIGHT: 11,
  SCALAR_Q: 12,
  SCALAR_G: 13,
  MODEXP: 14,
} as const

export type P384Reason = keyof typeof P384_REASONS
