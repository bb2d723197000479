/** Where the P-384 verifier keeps things: calldata, memory, stack; what generator and steps share. @module */
import { type Operand, words } from './p384Field.ts'

/** Stands for the table's address in the compiled code; the deployed code has the address in its place. */
export const TABLE_PLACEHOLDER = '0x7461626c657461626c657461626c657461626c65'

/** Selector of `P384Refused(uint256)`; a test computes it. */
export const REFUSED_SELECTOR = '0xff90688e'

/** Where things stand in memory. A triple is three words: hi, lo, residue. A point is two triples. */
export const AT = {
  alpha: 0x80,
  x: 0x100,
  y: 0x160,
  d: 0x220,
  tx: 0x2e0,
  ty: 0x340,
  entry: 0x3a0,
  cube: 0x400,
  square: 0x460,
  radix: 0x4c0,
  tableQ: 0x540,
  tableR: 0xb40,
  modexp: 0x1140,
} as const

/** Offsets in the calldata: five fields of 48 bytes, then the hints. */
export const IN = { hash: 0, r: 48, s: 96, qx: 144, qy: 192, flag: 240, ry: 241, slopes: 289 } as const
export const POINT_BYTES = 192
export const TABLE_ENTRIES = 255
export const DOUBLINGS_MAX = 200

export const X: Operand = words(AT.x)
export const Y: Operand = words(AT.y)
/** Slopes, and differences used in one product, live on the stack. */
export const SLOPE: Operand = { hi: 's1', lo: 's0', m: 'sM' }
export const DIFFERENCE: Operand = { hi: 'd1', lo: 'd0', m: 'dM' }
export const D: Operand = words(AT.d)
export const F: Operand = { hi: 'f1', lo: 'f0', m: 'fM' }
export const TX: Operand = words(AT.tx)
export const TY: Operand = words(AT.ty)

/** Bits 256 and up. */
export function hiOf(value: bigint): bigint {
  return value >> 256n
}

/** The low 256 bits. */
export function loOf(value: bigint): bigint {
  return value % 2n ** 256n
}
