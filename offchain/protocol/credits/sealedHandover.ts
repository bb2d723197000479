/**
 * Keysets on their way from one enclave to another: secret keys and successions, sealed to a key of the enclave that takes them.
 *
 * The answer of an ordinary sealed exchange opens for whoever sent the request. This opens for the enclave whose evidence names the key,
 * whoever asked on its behalf. HPKE base mode in the framing of RFC 9458 section 4.3 under a label of its own; there is no answer. Who
 * sealed it is not shown by the seal: it came out of an exchange with an enclave that was checked.
 *
 *   uint8 version = 1; uint8 count
 *   per keyset: keyset(32) signUntil(5) spendUntil(5) exitUntil(5) secretKeys(24 * 32) hasSuccession(1) r(32) vs(32)
 *
 * @module
 */
import { concatBytes, decodeUint, encodeUint, fromHex, type Hex, joinBytes, toHex } from '../bytes.ts'
import type { CompactSignature } from '../receipt/head.ts'
import type { ExchangeLabels, GatewayKeys } from '../sealing/exchange.ts'
import type { KeyConfig } from '../sealing/keyConfig.ts'
import { openRequest, sealRequest } from '../sealing/ohttp.ts'
import type { SealingSuites } from '../sealing/suite.ts'
import { DENOMINATION_COUNT } from './amounts.ts'
import { CreditError } from './creditError.ts'

/** Keysets in one handover: as many as an issuer has. */
export const HANDOVER_KEYSETS_MAX = 64

/** Times in seconds since the epoch. `secretKeys[i]` (32 bytes) signs credits of 2^i units. */
export type HandedKeyset = {
  readonly keyset: Hex
  readonly signUntil: number
  readonly spendUntil: number
  readonly exitUntil: number
  readonly secretKeys: readonly Uint8Array[]
  /** The giver's word that the taker may become the writer; absent where it would not be one. */
  readonly succession?: CompactSignature
}

const LABELS: ExchangeLabels = {
  request: 'sealpath keyset handover',
  response: 'sealpath keyset handover answer',
}
const VERSION = 1
const KEY_BYTES = 32
const KEYS_AT = 32 + 3 * 5
const SUCCESSION_AT = KEYS_AT + DENOMINATION_COUNT * KEY_BYTES
const KEYSET_BYTES = SUCCESSION_AT + 1 + 64

/** Seals keysets for the key. What was encoded in between is wiped. Throws `CreditError` (`WRONG_LENGTH`), `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function sealHandover(
  suites: SealingSuites,
  config: KeyConfig,
  keysets: readonly HandedKeyset[],
): Promise<Uint8Array> {
  if (keysets.length > HANDOVER_KEYSETS_MAX)
    throw wrongLength(`at most ${HANDOVER_KEYSETS_MAX} keysets`, keysets.length)
  const parts = keysets.map(encodeKeyset)
  const encoded = concatBytes(Uint8Array.of(VERSION, keysets.length), ...parts)
  try {
    return (await sealRequest(suites, config, encoded, LABELS)).encapsulated
  } finally {
    for (const bytes of [encoded, ...parts]) bytes.fill(0)
  }
}

/**
 * Opens what was sealed for one of `keys`. The secret keys are copies of the caller's own; everything else that was secret is wiped. That
 * keys give their keyset is the caller's to check. Throws `OhttpError`, and `CreditError` (`WRONG_VERSION`, `WRONG_LENGTH`, `NOT_CANONICAL`).
 */
export async function openHandover(
  suites: SealingSuites,
  keys: GatewayKeys,
  sealed: Uint8Array,
): Promise<readonly HandedKeyset[]> {
  const { plaintext } = await openRequest(suites, keys, sealed, LABELS)
  try {
    const [version, count = 0] = plaintext
    if (version !== VERSION) throw new CreditError('WRONG_VERSION', `expected version ${VERSION} of a handover`)
    const length = 2 + count * KEYSET_BYTES
    if (count > HANDOVER_KEYSETS_MAX || plaintext.length !== length) {
      throw wrongLength(`${length} bytes for ${count} keysets`, plaintext.length)
    }
    return Array.from({ length: count }, (_, i) => {
      const from = 2 + i * KEYSET_BYTES
      return decodeKeyset(plaintext.subarray(from, from + KEYSET_BYTES))
    })
  } finally {
    plaintext.fill(0)
  }
}

function encodeKeyset({ keyset, secretKeys, succession, ...times }: HandedKeyset): Uint8Array {
  if (secretKeys.length !== DENOMINATION_COUNT || secretKeys.some(({ length }) => length !== KEY_BYTES)) {
    throw wrongLength(`${DENOMINATION_COUNT} keys of ${KEY_BYTES} bytes`, secretKeys.length)
  }
  const { signUntil, spendUntil, exitUntil } = times
  return joinBytes([
    fromHex(keyset, 32),
    ...[signUntil, spendUntil, exitUntil].map((time) => encodeUint(BigInt(time), 5)),
    ...secretKeys,
    Uint8Array.of(succession === undefined ? 0 : 1),
    ...(succession === undefined ? [new Uint8Array(64)] : [fromHex(succession.r, 32), fromHex(succession.vs, 32)]),
  ])
}

function decodeKeyset(bytes: Uint8Array): HandedKeyset {
  const time = (i: number) => Number(decodeUint(bytes.subarray(32 + 5 * i, 37 + 5 * i)))
  const keyset = {
    keyset: toHex(bytes.subarray(0, 32)),
    signUntil: time(0),
    spendUntil: time(1),
    exitUntil: time(2),
    secretKeys: Array.from({ length: DENOMINATION_COUNT }, (_, i) =>
      bytes.slice(KEYS_AT + i * KEY_BYTES, KEYS_AT + (i + 1) * KEY_BYTES),
    ),
  }
  const signature = bytes.subarray(SUCCESSION_AT + 1)
  const hasSuccession = bytes[SUCCESSION_AT]
  if (hasSuccession === 1) {
    return { ...keyset, succession: { r: toHex(signature.subarray(0, 32)), vs: toHex(signature.subarray(32)) } }
  }
  if (hasSuccession === 0 && signature.every((byte) => byte === 0)) return keyset
  throw new CreditError('NOT_CANONICAL', 'expected a succession, or zeros for none')
}

function wrongLength(expected: string, got: number): CreditError {
  return new CreditError('WRONG_LENGTH', `expected ${expected}, got ${got}`)
}
