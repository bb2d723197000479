/**
 * Commitments: what a receipt says about request and answer without saying it.
 *
 *   commitment = keccak256(tag(1) || salt(32) || length(8, big-endian) || data)
 *
 * Every commitment of an exchange has a salt of its own, exported from that exchange's HPKE context under its own label, so that
 * only client and gateway can open it. Spec: docs/spec.md section 3.
 * @module
 */
import { concatBytes, encodeUint } from '../bytes.ts'
import { keccak256 } from '../hash.ts'

/** Which part of the exchange a commitment is to: its first byte. */
export const COMMITMENT_TAGS = { request: 0x10, output: 0x11, nonce: 0x12, response: 0x13, toolCalls: 0x14 } as const

export type CommitmentKind = keyof typeof COMMITMENT_TAGS

/** Everything that is committed to, in the order of the tags. */
export const COMMITMENT_KINDS: readonly CommitmentKind[] = ['request', 'output', 'nonce', 'response', 'toolCalls']

export const SALT_BYTES = 32

/** Label of the HPKE export that yields the salt, for `exportSecret`. */
export function saltLabel(kind: CommitmentKind): string {
  return `sealpath/1 ${kind} salt`
}

/** The commitment, 32 bytes. `salt` is 32 bytes. */
export function commit(kind: CommitmentKind, salt: Uint8Array, data: Uint8Array): Uint8Array {
  if (salt.length !== SALT_BYTES) throw new RangeError(`expected a salt of ${SALT_BYTES} bytes, got ${salt.length}`)
  return keccak256(concatBytes(Uint8Array.of(COMMITMENT_TAGS[kind]), salt, encodeUint(BigInt(data.length), 8), data))
}

/** One salt per kind, each 32 bytes. */
export type Salts = Readonly<Record<CommitmentKind, Uint8Array>>

/** Derives every salt of an exchange. Both ends call it with their own side of the same HPKE context. */
export async function deriveSalts(
  exportSecret: (label: string, lengthBytes: number) => Promise<Uint8Array>,
): Promise<Salts> {
  const [request, output, nonce, response, toolCalls] = await Promise.all([
    exportSecret(saltLabel('request'), SALT_BYTES),
    exportSecret(saltLabel('output'), SALT_BYTES),
    exportSecret(saltLabel('nonce'), SALT_BYTES),
    exportSecret(saltLabel('response'), SALT_BYTES),
    exportSecret(saltLabel('toolCalls'), SALT_BYTES),
  ])
  return { request, output, nonce, response, toolCalls }
}

/** What the committed data of an exchange was. */
export type CommittedData = Readonly<Record<CommitmentKind, Uint8Array>>
