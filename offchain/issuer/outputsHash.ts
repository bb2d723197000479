/**
 * The hash of the outputs that a claim key signs for (protocol/credits/purchase.ts), from points that came from outside. The vault takes the same
 * signature in `answerDeposit`, so that an issuer that is doubted can show what it was asked for.
 * @module
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { decodeG1, encodeEip2537G1 } from '#protocol/credits/points.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { IssueOutput } from '#protocol/wire/issuerApi.ts'

/** The outputs' hash, 32 bytes. Decodes point by point and lets others run in between. Throws `CreditError` (`POINT_…`). */
export async function hashOutputs(outputs: readonly IssueOutput[]): Promise<Hex> {
  const points: Uint8Array[] = []
  for (const { blinded } of outputs) {
    points.push(encodeEip2537G1(decodeG1(blinded)))
    await nextTurn()
  }
  const exponents = Uint8Array.from(outputs, ({ exponent }) => exponent)
  return toHex(keccak256(joinBytes([exponents, ...points])))
}
