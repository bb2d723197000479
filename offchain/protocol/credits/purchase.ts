/**
 * What a deposit buys: the claim key that it is bound to, the denominations of its credits, and the request that the issuer signs them by.
 * All of it follows from the seed and the number of the purchase, so that a wallet is restored by counting.
 * Twin of CreditDeposits.answerDeposit. Spec: docs/spec.md section 9.
 * @module
 */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { expand } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { hashTypedData } from '#protocol/typedData.ts'
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex, joinBytes, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { enclaveOfKey } from '../receipt/head.ts'
import type { RandomBytes } from '../sealing/suite.ts'
import { DENOMINATION_COUNT, slotsNeeded, splitAmount } from './amounts.ts'
import { verifyBlindSignatures } from './batchVerification.ts'
import { blindMessage, unblindSignature } from './blindSignature.ts'
import { CreditError } from './creditError.ts'
import { type CreditSecrets, deriveCredit, extractSeed } from './derivation.ts'
import { hashKeyset, type Keyset } from './keyset.ts'
import { creditMessage } from './message.ts'
import { decodeG1, encodeEip2537G1, encodeMultipleG1, type G1Point } from './points.ts'
import { reduceWide } from './scalar.ts'

/** The sizes of deposits in units: 1, 10 and 100 OPG. Numbers of `DepositSize` in ICreditDeposits. */
export const DEPOSIT_SIZES: readonly bigint[] = [1_000_000n, 10_000_000n, 100_000_000n]
/** Credits of one purchase; each takes its counters from its own range of this many. */
const PURCHASE_OUTPUTS_MAX = 64

/** One credit that a purchase asks for. `counter` counts on the purchase path. */
export type PurchaseOutput = {
  readonly exponent: number
  readonly counter: number
  readonly secrets: CreditSecrets
  readonly blinded: G1Point
}

/** `number` counts the wallet's purchases under one keyset from 0. */
export type Purchase = {
  readonly number: number
  readonly units: bigint
  readonly claimPrivateKey: Uint8Array
  readonly claimKey: Hex
  /** Ascending by exponent, as the vault wants them. */
  readonly outputs: readonly PurchaseOutput[]
}

/** Purchase `number` of this size. Costs about 8 ms of arithmetic an output. Throws `CreditError` (`BAD_AMOUNT`) for any other size. */
export function createPurchase(seed: Uint8Array, keyset: Keyset, number: number, units: bigint): Purchase {
  const id = hashKeyset(keyset)
  const claimPrivateKey = deriveClaimKey(seed, id, number)
  const domain = { chainId: keyset.chainId, vault: keyset.vault, keyset: id }
  const outputs = splitDeposit(units).map((exponent, i): PurchaseOutput => {
    const counter = number * PURCHASE_OUTPUTS_MAX + i
    const secrets = deriveCredit(seed, 'purchase', id, counter)
    const blinded = blindMessage(creditMessage(domain, secrets.exitKey, secrets.secret), secrets.blinding)
    return { exponent, counter, secrets, blinded }
  })
  return { number, units, claimPrivateKey, claimKey: enclaveOfKey(claimPrivateKey), outputs }
}

/**
 * Checks the issuer's blind signatures (48 bytes each, in the order of the outputs) against the keyset's public keys and answers the credits'
 * signatures, compressed. Throws `CreditError` (`POINT_…`, `WRONG_LENGTH`, `BAD_SIGNATURE`).
 */
export function unblindPurchase(
  purchase: Purchase,
  keyset: Keyset,
  signatures: readonly Uint8Array[],
  random: RandomBytes,
): Uint8Array[] {
  const { outputs } = purchase
  if (signatures.length !== outputs.length) {
    throw new CreditError('WRONG_LENGTH', `expected ${outputs.length} signatures, got ${signatures.length}`)
  }
  const signed = outputs.map((output, i) => {
    const publicKey = keyset.keys[output.exponent]
    if (publicKey === undefined) throw new CreditError('BAD_EXPONENT', 'the keyset has no such key')
    const blindSignature = decodeG1(signatures[i] ?? new Uint8Array())
    return { blinded: output.blinded, blindSignature, publicKey, blinding: output.secrets.blinding }
  })
  if (!verifyBlindSignatures(signed, random)) {
    throw new CreditError('BAD_SIGNATURE', 'the issuer did not sign with the keys that are on chain')
  }
  return signed.map(({ blindSignature, blinding }) => encodeMultipleG1(unblindSignature(blindSignature, blinding)))
}

/** The claim key's private key, 32 bytes. */
export function deriveClaimKey(seed: Uint8Array, keyset: Hex, number: number): Uint8Array {
  const info = joinBytes([encodeUtf8('claim key\0'), fromHex(keyset, 32), encodeUint(BigInt(number), 8)])
  return encodeUint(reduceWide(expand(sha256, extractSeed(seed), info, 64), secp256k1.Point.Fn.ORDER), 32)
}

/**
 * The exponents of a deposit's credits, ascending: as many equal ones as fit, and the bits of the rest. The same for everybody who buys
 * this size, so that what a wallet asks for says nothing about it.
 */
export function splitDeposit(units: bigint): number[] {
  if (!DEPOSIT_SIZES.includes(units)) throw new CreditError('BAD_AMOUNT', 'expected the size of a deposit')
  for (let exponent = 0; exponent < DENOMINATION_COUNT; exponent++) {
    const count = units >> BigInt(exponent)
    const rest = units & ((1n << BigInt(exponent)) - 1n)
    if (count + BigInt(slotsNeeded(rest)) > BigInt(PURCHASE_OUTPUTS_MAX)) continue
    const equal = Array.from({ length: Number(count) }, () => exponent)
    return [...splitAmount(rest, PURCHASE_OUTPUTS_MAX).toReversed(), ...equal]
  }
  throw new CreditError('TOO_FEW_SLOTS', 'the deposit does not split into as many credits as a purchase may have')
}

const ISSUE_REQUEST_TYPES = {
  IssueRequest: [
    { name: 'keyset', type: 'bytes32' },
    { name: 'claimKey', type: 'address' },
    { name: 'outputsHash', type: 'bytes32' },
  ],
} as const

/** Digest that the claim key signs, 32 bytes: EIP-712 of the vault's domain. */
export function hashIssueRequest(
  message: { readonly keyset: Hex; readonly claimKey: Hex; readonly outputsHash: Hex },
  { chainId, vault }: { readonly chainId: number; readonly vault: Hex },
): Hex {
  const domain = { name: 'Sealpath CreditVault', version: '1', chainId, verifyingContract: vault }
  return hashTypedData({ domain, types: ISSUE_REQUEST_TYPES, primaryType: 'IssueRequest', message })
}

/** keccak256(exponents ‖ points in EIP-2537 form). */
export function hashOutputs(outputs: readonly { readonly exponent: number; readonly blinded: G1Point }[]): Hex {
  const exponents = Uint8Array.from(outputs, ({ exponent }) => exponent)
  return toHex(keccak256(concatBytes(exponents, joinBytes(outputs.map(({ blinded }) => encodeEip2537G1(blinded))))))
}
