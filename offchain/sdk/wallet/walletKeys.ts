/**
 * Everything of a wallet that follows from its seed under one keyset: secrets, blanks, purchases, claim keys, and what issuers' signatures make of them.
 * It remembers nothing. @module
 */
import { type ExitCredit, hashExit } from '#chain/vaultExits.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS } from '#protocol/credits/amounts.ts'
import { blindMessage, unblindSignature, verifySignature } from '#protocol/credits/blindSignature.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { type CreditSecrets, deriveCredit } from '#protocol/credits/derivation.ts'
import { hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import type { SpentCredit } from '#protocol/credits/payment.ts'
import { decodeG1, encodeMultipleG1 } from '#protocol/credits/points.ts'
import { createPurchase, deriveClaimKey, type Purchase, unblindPurchase } from '#protocol/credits/purchase.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, signDigest } from '#protocol/receipt/head.ts'
import type { WalletCredit } from './walletState.ts'

export class WalletKeys {
  readonly keyset: Keyset
  readonly keysetId: Hex
  readonly #seed: Uint8Array
  /** The purchase that was derived last: starting, asking and finishing take the same, and it costs half a second. */
  #purchase: Purchase | undefined

  /** `seed` is 32 bytes. Throws `CreditError` for a keyset that may not be used. */
  constructor(seed: Uint8Array, keyset: Keyset) {
    this.#seed = seed
    this.keyset = keyset
    this.keysetId = hashKeyset(keyset)
  }

  /** Purchase `number` of this size, whether it was begun here or in a lost copy of this wallet. */
  purchase(number: number, units: bigint): Purchase {
    const known = this.#purchase
    if (known?.number === number && known.units === units) return known
    this.#purchase = createPurchase(this.#seed, this.keyset, number, units)
    return this.#purchase
  }

  /** Address of the claim key of purchase `number`. */
  claimKeyOf(number: number): Hex {
    return enclaveOfKey(deriveClaimKey(this.#seed, this.keysetId, number))
  }

  /** The credits of a purchase. Throws `CreditError` when the signatures are not the keyset's. */
  creditsOfPurchase(purchase: Purchase, signatures: readonly Uint8Array[]): WalletCredit[] {
    const unblinded = unblindPurchase(purchase, this.keyset, signatures, randomBytes)
    return purchase.outputs.map(({ counter, exponent }, i) => ({
      path: 'purchase',
      counter,
      exponent,
      signature: unblinded[i] ?? new Uint8Array(),
    }))
  }

  /** A payment's blanks from `firstBlank` on, compressed. Takes about 4 ms each. */
  blanksFrom(firstBlank: number, count: number = BLANK_SLOTS): Uint8Array[] {
    return Array.from({ length: count }, (_, i) => this.blank(firstBlank + i))
  }

  /** The blank `counter`, compressed. */
  blank(counter: number): Uint8Array {
    return this.blindedOf({ path: 'change', counter })
  }

  /** The credit that blank `counter` became. The blind signature was checked before. */
  unblindChange(counter: number, exponent: number, blindSignature: Uint8Array): WalletCredit {
    const { blinding } = deriveCredit(this.#seed, 'change', this.keysetId, counter)
    return {
      path: 'change',
      counter,
      exponent,
      signature: encodeMultipleG1(unblindSignature(decodeG1(blindSignature), blinding)),
    }
  }

  /** The same, checked. Throws `CreditError` (`BAD_SIGNATURE`) when the signature is not the keyset's. */
  creditOfBlank(counter: number, exponent: number, blindSignature: Uint8Array): WalletCredit {
    const credit = this.unblindChange(counter, exponent, blindSignature)
    const publicKey = this.keyset.keys[exponent]
    const message = this.#messageOf(this.#secretsOf(credit))
    if (publicKey === undefined || !verifySignature(message, decodeG1(credit.signature), publicKey)) {
      throw new CreditError('BAD_SIGNATURE', 'the change is not signed by the keyset')
    }
    return credit
  }

  /** The blinded point that the issuer signed for this credit, compressed: all that it saw of it before it was spent. */
  blindedOf(credit: Pick<WalletCredit, 'path' | 'counter'>): Uint8Array {
    const secrets = this.#secretsOf(credit)
    return encodeMultipleG1(blindMessage(this.#messageOf(secrets), secrets.blinding))
  }

  /** A credit's id, the message that its signature signs: what the issuer publishes once it is spent. */
  idOf(credit: WalletCredit): Hex {
    return toHex(this.#messageOf(this.#secretsOf(credit)))
  }

  /** The credit as a payment carries it. */
  spent(credit: WalletCredit): SpentCredit {
    const { secret, exitKey } = this.#secretsOf(credit)
    return { exponent: credit.exponent, secret, exitKey, signature: credit.signature }
  }

  /** The credit as the vault pays it out to `recipient`, signed by its exit key. */
  exit(credit: WalletCredit, recipient: Hex): ExitCredit {
    const secrets = this.#secretsOf(credit)
    const digest = hashExit(this.keyset, toHex(this.#messageOf(secrets)), recipient)
    return {
      exponent: credit.exponent,
      exitKey: secrets.exitKey,
      hashT: toHex(keccak256(secrets.secret)),
      signature: credit.signature,
      exit: signDigest(digest, secrets.exitPrivateKey),
    }
  }

  #secretsOf({ path, counter }: Pick<WalletCredit, 'path' | 'counter'>): CreditSecrets {
    return deriveCredit(this.#seed, path, this.keysetId, counter)
  }

  #messageOf({ exitKey, secret }: CreditSecrets): Uint8Array {
    const { chainId, vault } = this.keyset
    return creditMessage({ chainId, vault, keyset: this.keysetId }, exitKey, secret)
  }
}

/** From the platform's CSPRNG. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length))
}
