/**
 * What paying costs a client: a wallet's own code, in Node and in a browser alike. The issuer's part is played with plain keys, outside the measured time.
 * @module
 */

import { CREDIT_SLOTS, splitChange } from '#protocol/credits/amounts.ts'
import { publicKeyOf, signBlinded } from '#protocol/credits/blindSignature.ts'
import { EXIT_SECONDS_MIN, type Keyset } from '#protocol/credits/keyset.ts'
import type { Payment } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { openPayment, sealPayment } from '#protocol/credits/sealedPayment.ts'
import type { GatewayKeys } from '#protocol/sealing/exchange.ts'
import { AEAD_AES_128_GCM, KDF_HKDF_SHA256, KEM_X_WING, type SealingSuites } from '#protocol/sealing/suite.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { formatSealed, parseSealed } from '#protocol/wire/paymentField.ts'
import { Wallet, type WalletStore } from '../../offchain/sdk/wallet/wallet.ts'

/** Milliseconds of each run: up to the field that the request carries, and from the answer's trailer to change that is stored. */
export type ClientCosts = { readonly payMs: readonly number[]; readonly changeMs: readonly number[] }

const RUNS = 11
const WARM_UP = 2
const DEPOSIT = 1_000_000n
/** A request of 1,500 bytes that allows 1,024 tokens, at the demo's prices, and uses a third of them. */
const MAXIMUM_FEE = 2_432n
const FEE = 736n
const GATEWAY = `0x${'6a'.repeat(20)}` as const

export async function measureClient(): Promise<ClientCosts> {
  const suites = createWebSuites()
  const secretKeys = Array.from({ length: 24 }, (_, i) => 1_000_003n ** BigInt(10 + i) % 2n ** 254n)
  const wallet = await Wallet.open({ seed: randomBytes(32), keyset: keysetOf(secretKeys), store: inMemory() })
  const { number, outputs } = await wallet.startPurchase(DEPOSIT)
  const signatures = outputs.map(({ exponent, blinded }) => encodeG1(signBlinded(blinded, secretKeys[exponent] ?? 0n)))
  await wallet.finishPurchase(number, signatures)
  const keys = await issuerKeys(suites)
  const config = keys.get(1)?.config
  if (config === undefined) throw new Error('the issuer has a key')
  const times: { readonly payMs: number; readonly changeMs: number }[] = []
  for (let run = 0; run < WARM_UP + RUNS; run++) {
    await wallet.prepare()
    const begun = performance.now()
    const { payment, id } = await wallet.pay(GATEWAY, MAXIMUM_FEE)
    const sealed = await sealPayment(suites, config, payment)
    const field = formatSealed(sealed.sealed)
    const payMs = performance.now() - begun
    if (payment.credits.length !== CREDIT_SLOTS) throw new Error('expected a payment of eight credits')
    const trailer = await answer(suites, keys, secretKeys, field)
    const answered = performance.now()
    const fee = await wallet.finishPayment(id, await sealed.openChange(parseSealed(trailer)))
    if (fee !== FEE) throw new Error('expected the fee that was taken')
    times.push({ payMs, changeMs: performance.now() - answered })
  }
  const counted = times.slice(WARM_UP)
  return {
    payMs: counted.map(({ payMs }) => payMs),
    changeMs: counted.map(({ changeMs }) => changeMs),
  }
}

/** The issuer opens the payment and signs change for all but the fee. */
async function answer(
  suites: SealingSuites,
  keys: GatewayKeys,
  secretKeys: readonly bigint[],
  field: string,
): Promise<string> {
  const { payment, sealChange } = await openPayment(suites, keys, parseSealed(field))
  return formatSealed(await sealChange({ fee: FEE, signatures: signChange(payment, secretKeys) }, randomBytes))
}

function signChange(
  { credits, blanks }: Payment,
  secretKeys: readonly bigint[],
): { readonly exponent: number; readonly blindSignature: Uint8Array }[] {
  const inputs = credits.map(({ exponent }) => exponent)
  return splitChange(inputs, FEE).map((exponent, i) => {
    const blank = decodeG1(blanks[i] ?? new Uint8Array())
    return { exponent, blindSignature: encodeG1(signBlinded(blank, secretKeys[exponent] ?? 0n)) }
  })
}

async function issuerKeys(suites: SealingSuites): Promise<Map<number, NonNullable<ReturnType<GatewayKeys['get']>>>> {
  const pair = await suites.generateKeyPair(KEM_X_WING)
  const symmetric = [{ kdfId: KDF_HKDF_SHA256, aeadId: AEAD_AES_128_GCM }]
  return new Map([[1, { config: { keyId: 1, kemId: KEM_X_WING, publicKey: pair.publicKey, suites: symmetric }, pair }]])
}

function keysetOf(secretKeys: readonly bigint[]): Keyset {
  const signUntil = Math.floor(Date.now() / 1000) + 86_400
  const spendUntil = signUntil + 86_400
  const exitUntil = spendUntil + EXIT_SECONDS_MIN
  const keys = secretKeys.map(publicKeyOf)
  return { chainId: 31_337, vault: `0x${'7a'.repeat(20)}`, keys, signUntil, spendUntil, exitUntil }
}

/** What keeps the state is not the SDK's. */
function inMemory(): WalletStore {
  return { load: async () => undefined, save: async () => {} }
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}
