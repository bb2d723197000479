/** What the P-384 verifier says, by name, and ways to spoil its calldata. @module */
import { decodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { P384_REASONS, type P384Reason } from '#protocol/evidence/p384Reasons.ts'
import type { AttestationChain } from '../../scripts/attestation/measure.ts'
import { seededNumbers } from '../../scripts/attestation/p384Cases.ts'
import { REFUSED_SELECTOR } from '../../scripts/attestation/p384Layout.ts'

export type Answer = 'ACCEPTED' | P384Reason

/** The verifier's answer to `calldata`. Throws `Error` on anything but the word 1 or a `P384Refused` with a known reason. */
export async function answerOf(
  chain: AttestationChain,
  calldata: Uint8Array,
  verifier: Hex = chain.p384,
): Promise<Answer> {
  const { isSuccess, data } = await chain.call(verifier, calldata)
  if (isSuccess) {
    if (data.length === 32 && decodeUint(data) === 1n) return 'ACCEPTED'
    throw new Error(`expected the word 1, got ${toHex(data)}`)
  }
  const number = Number(decodeUint(data.subarray(4)))
  const reason = Object.entries(P384_REASONS).find(([, value]) => value === number)?.[0]
  if (data.length !== 36 || toHex(data.subarray(0, 4)) !== REFUSED_SELECTOR || reason === undefined) {
    throw new Error(`expected P384Refused with a reason, got ${toHex(data)}`)
  }
  return reason as P384Reason
}

/** `calldata` with one bit flipped, `count` times, at places that follow from `seed`; every field of the calldata gets its share. */
export function* flipBits(
  calldata: Uint8Array,
  seed: string,
  count: number,
): Generator<{ at: number; data: Uint8Array }> {
  const next = seededNumbers(seed)
  // Hash, r, s, x, y, flag, y_R, and twice the stream of slopes and operations.
  const regions = [0, 48, 96, 144, 192, 240, 241, 289, 1057].map((start, index, starts) => [
    start,
    index < 7 ? (starts[index + 1] ?? 0) : calldata.length,
  ])
  for (let i = 0; i < count; i++) {
    const [start = 0, end = 0] = regions[i % regions.length] ?? []
    const at = start + Number(next() % BigInt(end - start))
    const data = calldata.slice()
    data[at] = (data[at] ?? 0) ^ (1 << Number(next() % 8n))
    yield { at, data }
  }
}
