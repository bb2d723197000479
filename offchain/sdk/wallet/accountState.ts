/**
 * What a person's wallet file holds: one seed, and one wallet state for each keyset that was ever bought in. Keysets rotate; the seed stays. @module
 */
import * as v from 'valibot'
import { type Hex, joinBytes, toBase64 } from '#protocol/bytes.ts'
import { DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'
import { SEED_BYTES } from '#protocol/credits/derivation.ts'
import { hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { decodeEip2537G2, EIP2537_G2_BYTES, encodeEip2537G2 } from '#protocol/credits/points.ts'
import { address, base64Of, parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import { WalletError } from './walletError.ts'
import { plainState, type WalletState, WalletStateSchema } from './walletState.ts'

/** The keyset itself is kept, so that an exit needs nobody who remembers it. `isRestoring` until everything under it was found again from the seed. */
export type KeysetState = { readonly keyset: Keyset; readonly isRestoring: boolean; readonly state: WalletState }

export type AccountState = {
  readonly format: 'sealpath-account/1'
  readonly chainId: number
  readonly vault: Hex
  /** 32 bytes. */
  readonly seed: Uint8Array
  /** Set until it is known under which keysets the seed was used. */
  readonly isRestoring: boolean
  /** Oldest first. */
  readonly keysets: readonly KeysetState[]
}

const KEYS_BYTES = DENOMINATION_COUNT * EIP2537_G2_BYTES
const time = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 40 - 1))

const AccountSchema = v.object({
  format: v.literal('sealpath-account/1'),
  chainId: v.pipe(v.number(), v.integer(), v.minValue(1)),
  vault: address,
  seed: base64Of(SEED_BYTES),
  isRestoring: v.boolean(),
  keysets: v.array(
    v.object({
      keys: base64Of(KEYS_BYTES),
      signUntil: time,
      spendUntil: time,
      exitUntil: time,
      isRestoring: v.boolean(),
      state: WalletStateSchema as Schema<WalletState>,
    }),
  ),
})

export function serializeAccount({ keysets, seed, ...rest }: AccountState): string {
  return toJson({
    ...rest,
    seed: toBase64(seed),
    keysets: keysets.map(({ keyset: { keys, signUntil, spendUntil, exitUntil }, isRestoring, state }) => ({
      keys: toBase64(joinBytes(keys.map(encodeEip2537G2))),
      signUntil,
      spendUntil,
      exitUntil,
      isRestoring,
      state: plainState(state),
    })),
  })
}

/** Throws `WireError` for anything but what `serializeAccount` wrote, `CreditError` and `WalletError` (`OTHER_KEYSET`) for a keyset that is none. */
export function parseAccount(text: string): AccountState {
  const { chainId, vault, keysets, ...rest } = parseJson(AccountSchema, text, 'wallet')
  return {
    ...rest,
    chainId,
    vault,
    keysets: keysets.map(({ keys, isRestoring, state, ...times }) => {
      const points = Array.from({ length: DENOMINATION_COUNT }, (_, i) =>
        decodeEip2537G2(keys.subarray(i * EIP2537_G2_BYTES, (i + 1) * EIP2537_G2_BYTES)),
      )
      const keyset = { chainId, vault, keys: points, ...times }
      if (hashKeyset(keyset) !== state.keyset) {
        throw new WalletError('OTHER_KEYSET', 'the keys in the wallet are not those of its keyset')
      }
      return { keyset, isRestoring, state }
    }),
  }
}
