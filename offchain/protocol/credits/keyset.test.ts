/** Keysets: their id against viem's encoder, their phases, and what makes one unfit. @module */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { encodeAbiParameters, type Hex as ViemHex, keccak256 as viemKeccak256 } from 'viem'
import { expect, it } from 'vitest'
import { encodeUtf8, toHex } from '../bytes.ts'
import { publicKeyOf } from './blindSignature.ts'
import type { CreditErrorCode } from './creditError.ts'
import { checkKeyset, EXIT_SECONDS_MIN, hashKey, hashKeyset, type Keyset, keysetPhase } from './keyset.ts'
import { encodeEip2537G2 } from './points.ts'

const keyset: Keyset = {
  chainId: 31_337,
  vault: '0x00000000000000000000000000000000000000aa',
  keys: Array.from({ length: 24 }, (_, i) => publicKeyOf(BigInt(i + 2))),
  signUntil: 1_800_000_000,
  spendUntil: 1_810_000_000,
  exitUntil: 1_810_000_000 + EXIT_SECONDS_MIN,
}

it('has the id that abi.encode and keccak256 make of its parts', () => {
  const keyHashes = keyset.keys.map((key) => viemKeccak256(toHex(encodeEip2537G2(key))))
  const types = [
    { type: 'bytes32' },
    { type: 'uint256' },
    { type: 'address' },
    { type: 'bytes32[24]' },
    { type: 'uint40' },
    { type: 'uint40' },
    { type: 'uint40' },
  ] as const
  const tag: ViemHex = viemKeccak256(encodeUtf8('Sealpath keyset v1'))
  const encoded = encodeAbiParameters<readonly { type: string }[]>(types, [
    tag,
    31_337n,
    keyset.vault,
    keyHashes,
    keyset.signUntil,
    keyset.spendUntil,
    keyset.exitUntil,
  ])
  expect(hashKeyset(keyset)).toBe(viemKeccak256(encoded))
  expect(keyset.keys.map((key) => toHex(hashKey(key)))).toEqual(keyHashes)
})

it('has another id when anything differs', () => {
  const ids = [
    keyset,
    { ...keyset, chainId: 1 },
    { ...keyset, vault: `0x${'bb'.repeat(20)}` as const },
    { ...keyset, keys: keyset.keys.toReversed() },
    { ...keyset, signUntil: keyset.signUntil + 1 },
    { ...keyset, spendUntil: keyset.spendUntil - 1 },
    { ...keyset, exitUntil: keyset.exitUntil + 1 },
  ].map(hashKeyset)
  expect(new Set(ids).size).toBe(ids.length)
})

it('is in each phase until just before its time', () => {
  const { signUntil, spendUntil, exitUntil } = keyset
  expect([0, signUntil - 1].map((now) => keysetPhase(keyset, now))).toEqual(['sign', 'sign'])
  expect([signUntil, spendUntil - 1].map((now) => keysetPhase(keyset, now))).toEqual(['spend', 'spend'])
  expect([spendUntil, exitUntil - 1].map((now) => keysetPhase(keyset, now))).toEqual(['exitOnly', 'exitOnly'])
  expect(keysetPhase(keyset, exitUntil)).toBe('ended')
})

it('may skip the phase of spending only', () => {
  expect(checkKeyset({ ...keyset, signUntil: keyset.spendUntil }).keys).toHaveLength(24)
})

it('may last to the end of 40 bits', () => {
  expect(checkKeyset({ ...keyset, exitUntil: 2 ** 40 - 1 }).keys).toHaveLength(24)
})

it('is refused when its phases are out of order, or no whole seconds of 40 bits', () => {
  refuses({ signUntil: keyset.spendUntil + 1 }, 'PHASES_OUT_OF_ORDER')
  refuses({ exitUntil: keyset.spendUntil - 1 }, 'PHASES_OUT_OF_ORDER')
  refuses({ signUntil: -1 }, 'PHASES_OUT_OF_ORDER')
  refuses({ signUntil: 0.5 }, 'PHASES_OUT_OF_ORDER')
  refuses({ exitUntil: 2 ** 40 }, 'PHASES_OUT_OF_ORDER')
  refuses({ signUntil: Number.NaN }, 'PHASES_OUT_OF_ORDER')
})

it('is refused when exits last less than a year', () => {
  refuses({ exitUntil: keyset.exitUntil - 1 }, 'EXIT_TOO_SHORT')
})

it('is refused with more or fewer keys, one key twice, or a key that is none', () => {
  refuses({ keys: keyset.keys.slice(1) }, 'KEY_COUNT')
  refuses({ keys: [...keyset.keys, publicKeyOf(99n)] }, 'KEY_COUNT')
  const [first] = keyset.keys
  if (first === undefined) throw new Error('expected a key')
  refuses({ keys: [...keyset.keys.slice(0, 23), first] }, 'KEY_REPEATED')
  refuses({ keys: [...keyset.keys.slice(0, 23), bls12_381.G2.Point.ZERO] }, 'POINT_IDENTITY')
})

function refuses(change: Partial<Keyset>, code: CreditErrorCode): void {
  for (const use of [checkKeyset, hashKeyset]) {
    expect(() => use({ ...keyset, ...change })).toThrow(expect.objectContaining({ name: 'CreditError', code }))
  }
}
