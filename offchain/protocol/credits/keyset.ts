/**
 * Keysets: the 24 public keys an issuer signs under, one per power of two of units, and how long they count.
 *
 *   id = keccak256(abi.encode(keccak256("Sealpath keyset v1"), uint256 chainId, address vault, bytes32[24] keyHashes,
 *                             uint40 signUntil, uint40 spendUntil, uint40 exitUntil))
 *   keyHashes[i] = keccak256(key of 2^i units in the form of EIP-2537, 256 bytes)
 *
 * Spec: docs/spec.md section 9.
 * @module
 */
import { concatBytes, encodeUint, encodeUtf8, type Hex, joinBytes, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { DENOMINATION_COUNT } from './amounts.ts'
import { CreditError } from './creditError.ts'
import { addressWord } from './message.ts'
import { checkG2, encodeEip2537G2, type G2Point } from './points.ts'

const KEYSET_TYPE = keccak256(encodeUtf8('Sealpath keyset v1'))
/** 365 days: so long may a user sleep and still find the exit open. */
export const EXIT_SECONDS_MIN: number = 365 * 24 * 60 * 60
const TIME_MAX = 2 ** 40 - 1

/** `keys[i]` signs credits of 2^i units. Times are in seconds since the epoch; each phase ends just before its time. */
export type Keyset = {
  readonly chainId: number
  readonly vault: Hex
  readonly keys: readonly G2Point[]
  readonly signUntil: number
  readonly spendUntil: number
  readonly exitUntil: number
}

/** `sign`: deposits become credits. `spend`: spending and change go on. `exitOnly`: the vault pays credits out. `ended`: nothing. */
export type KeysetPhase = 'sign' | 'spend' | 'exitOnly' | 'ended'

/** The keyset itself if it is one that may be used. Throws `CreditError` with the code of what is wrong. */
export function checkKeyset(keyset: Keyset): Keyset {
  const { keys, signUntil, spendUntil, exitUntil } = keyset
  if (keys.length !== DENOMINATION_COUNT) {
    throw new CreditError('KEY_COUNT', `expected ${DENOMINATION_COUNT} keys, got ${keys.length}`)
  }
  if (new Set(keys.map((key) => checkG2(key).toHex(true))).size !== keys.length) {
    throw new CreditError('KEY_REPEATED', 'expected a key of its own for every denomination')
  }
  const times = [signUntil, spendUntil, exitUntil]
  const isTime = times.every((time) => Number.isInteger(time) && time >= 0 && time <= TIME_MAX)
  if (!isTime || signUntil > spendUntil || spendUntil > exitUntil) {
    throw new CreditError(
      'PHASES_OUT_OF_ORDER',
      'expected signing to end first, then spending, then exits, in whole seconds',
    )
  }
  if (exitUntil - spendUntil < EXIT_SECONDS_MIN) {
    throw new CreditError(
      'EXIT_TOO_SHORT',
      `expected at least ${EXIT_SECONDS_MIN} seconds of exits after spending ends`,
    )
  }
  return keyset
}

/** The keyset's id, 32 bytes. Throws as `checkKeyset` does: a keyset that may not be used has no id. */
export function hashKeyset(keyset: Keyset): Hex {
  const { chainId, vault, keys, signUntil, spendUntil, exitUntil } = checkKeyset(keyset)
  return toHex(
    keccak256(
      concatBytes(
        KEYSET_TYPE,
        encodeUint(BigInt(chainId), 32),
        addressWord(vault),
        joinBytes(keys.map(hashKey)),
        ...[signUntil, spendUntil, exitUntil].map((time) => encodeUint(BigInt(time), 32)),
      ),
    ),
  )
}

/** keccak256 of the key in the form of EIP-2537, 32 bytes. */
export function hashKey(key: G2Point): Uint8Array {
  return keccak256(encodeEip2537G2(key))
}

/** Which phase the keyset is in at `now`, in seconds since the epoch. */
export function keysetPhase(keyset: Pick<Keyset, 'signUntil' | 'spendUntil' | 'exitUntil'>, now: number): KeysetPhase {
  if (now < keyset.signUntil) return 'sign'
  if (now < keyset.spendUntil) return 'spend'
  return now < keyset.exitUntil ? 'exitOnly' : 'ended'
}
