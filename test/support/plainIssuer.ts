/**
 * An issuer of the plain arithmetic, for tests of wallets: no chain, no network, no log. It believes in every deposit it is told of.
 * @module
 */
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { splitChange } from '#protocol/credits/amounts.ts'
import { publicKeyOf, signBlinded, verifyWithSecretKey } from '#protocol/credits/blindSignature.ts'
import type { Change } from '#protocol/credits/change.ts'
import { EXIT_SECONDS_MIN, hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { creditMessage, hashToG1 } from '#protocol/credits/message.ts'
import type { Payment } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import type { Purchase } from '#protocol/credits/purchase.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { ChangeEntry } from '#protocol/wire/issuerApi.ts'
import type { RestorePorts } from '../../offchain/sdk/wallet/restore.ts'
import type { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import type { WalletCredit } from '../../offchain/sdk/wallet/walletState.ts'

export const secretKeys: readonly bigint[] = Array.from({ length: 24 }, (_, i) => BigInt(1_000 + i))
export const keyset: Keyset = {
  chainId: 31_337,
  vault: `0x${'aa'.repeat(20)}`,
  keys: secretKeys.map(publicKeyOf),
  signUntil: 2_000_000_000,
  spendUntil: 2_100_000_000,
  exitUntil: 2_100_000_000 + EXIT_SECONDS_MIN,
}
const domain = { chainId: keyset.chainId, vault: keyset.vault, keyset: hashKeyset(keyset) }

export class PlainIssuer implements RestorePorts {
  readonly deposits: Map<string, bigint> = new Map()
  readonly spent: Set<Hex> = new Set()
  readonly change: ChangeEntry[] = []
  asked: string[] = []

  async issue(purchase: Purchase): Promise<Uint8Array[]> {
    if (!this.deposits.has(purchase.claimKey)) throw new Error('no deposit')
    return purchase.outputs.map(({ exponent, blinded }) => encodeG1(signBlinded(blinded, secretKeys[exponent] ?? 0n)))
  }

  /** Reserves and captures. Throws for a credit that does not verify or was spent. */
  capture(payment: Payment, fee: bigint): Change {
    for (const { exponent, secret, exitKey, signature } of payment.credits) {
      const message = creditMessage(domain, exitKey, secret)
      if (!verifyWithSecretKey(message, signature, secretKeys[exponent] ?? 0n)) throw new Error('BAD_CREDIT')
      if (this.spent.has(toHex(message))) throw new Error('SPENT')
    }
    for (const { secret, exitKey } of payment.credits) this.spent.add(toHex(creditMessage(domain, exitKey, secret)))
    const exponents = splitChange(
      payment.credits.map(({ exponent }) => exponent),
      fee,
    )
    const signatures = exponents.map((exponent, i) => {
      const blank = payment.blanks[i] ?? new Uint8Array()
      const signature = encodeG1(signBlinded(decodeG1(blank), secretKeys[exponent] ?? 0n))
      this.change.push({ blank: toHex(keccak256(blank)), exponent, signature })
      return { exponent, blindSignature: signature }
    })
    return { fee, signatures }
  }

  async changeTile(prefix: string): Promise<{ entries: ChangeEntry[] }> {
    this.asked.push(prefix)
    return { entries: this.change.filter(({ blank }) => blank.startsWith(`0x${prefix}`)) }
  }

  async spentTile(prefix: string): Promise<{ spent: Hex[] }> {
    this.asked.push(prefix)
    return { spent: [...this.spent].filter((hash) => hash.startsWith(`0x${prefix}`)) }
  }

  async depositOf(claimKey: Hex): Promise<bigint | undefined> {
    return this.deposits.get(claimKey)
  }
}

/** Puts credits of these exponents, signed by the keyset, into a wallet that has none, as if it had bought them. */
export async function giveCredits(wallet: Wallet, exponents: readonly number[]): Promise<readonly WalletCredit[]> {
  const credits = exponents.map((exponent, counter): WalletCredit => {
    const credit = { path: 'purchase', counter, exponent, signature: new Uint8Array() } as const
    const point = hashToG1(fromHex(wallet.keys.idOf(credit), 32))
    return { ...credit, signature: encodeG1(signBlinded(point, secretKeys[exponent] ?? 0n)) }
  })
  await wallet.adopt({ credits, nextPurchase: 1, nextBlank: 0 })
  return credits
}
