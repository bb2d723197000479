/** The two who use an issuer, for tests: a wallet that derives everything from its seed, and a gateway. @module */

import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { encodeUint, encodeUtf8, type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, splitAmount } from '#protocol/credits/amounts.ts'
import { blindMessage, unblindSignature } from '#protocol/credits/blindSignature.ts'
import { type DerivationPath, deriveCredit } from '#protocol/credits/derivation.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import type { Payment, SpentCredit } from '#protocol/credits/payment.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { hashIssueRequest } from '#protocol/credits/purchase.ts'
import { type SealedPayment, sealPayment } from '#protocol/credits/sealedPayment.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, signDigest } from '#protocol/receipt/head.ts'
import {
  type CaptureAnswer,
  CaptureAnswerSchema,
  ChangeTileSchema,
  hashCapture,
  hashRenew,
  hashReserve,
  IssueAnswerSchema,
  type LocatedPayment,
  paymentLocator,
  RenewAnswerSchema,
  ReserveAnswerSchema,
} from '#protocol/wire/issuerApi.ts'
import type { SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { hashOutputs } from '../../offchain/issuer/outputsHash.ts'
import { DOMAIN, type StagedChain, type StagedIssuer } from './issuerStage.ts'

/** An issuer as these two need it: staged in this process, or a process of its own. */
export type IssuerCalls = Pick<StagedIssuer, 'call' | 'config'>
type Domain = Pick<typeof DOMAIN, 'chainId' | 'vault'>

export type WalletCredit = SpentCredit

/** A wallet of one keyset: everything from its seed and two counters. */
export class TestWallet {
  readonly seed: Uint8Array
  readonly keyset: Pick<SecretKeyset, 'id'>
  readonly #domain: Domain
  #purchases = 0
  #changes = 0

  constructor(keyset: Pick<SecretKeyset, 'id'>, name: string, domain: Domain = DOMAIN) {
    this.keyset = keyset
    this.#domain = domain
    this.seed = keccak256(encodeUtf8(name))
  }

  /** Puts a deposit on the chain and has it answered. */
  async buy(chain: StagedChain, issuer: IssuerCalls, units: bigint): Promise<WalletCredit[]> {
    const purchase = await this.purchase(units)
    chain.deposits.set(this.keyset.id + purchase.request.claimKey, { state: 'open', units })
    return purchase.open(await issuer.call(IssueAnswerSchema, 'POST', '/v1/issue', purchase.body))
  }

  /** `exponents`, ascending, are worth `units`; the fewest that are unless told. */
  async purchase(
    units: bigint,
    claimSeed: number = this.#purchases,
    exponents: readonly number[] = splitAmount(units, 64).reverse(),
  ): Promise<Purchase> {
    const secrets = exponents.map(() => this.#next('purchase'))
    const outputs = exponents.map((exponent, i) => ({ exponent, blinded: this.#blind(secrets[i]) }))
    const claimPrivate = keccak256(new Uint8Array([...this.seed, ...encodeUint(BigInt(claimSeed), 4)]))
    const keyset = this.keyset.id
    const claimKey = enclaveOfKey(claimPrivate).toLowerCase() as Hex
    const outputsHash = await hashOutputs(outputs)
    const signature = signDigest(hashIssueRequest({ keyset, claimKey, outputsHash }, this.#domain), claimPrivate)
    const request = { keyset, claimKey, outputs, signature }
    return {
      request,
      body: { ...request, outputs: outputs.map((output) => ({ ...output, blinded: toBase64(output.blinded) })) },
      open: ({ signatures }) =>
        exponents.map((exponent, i) => this.#credit(exponent, secrets[i], signatures[i] ?? new Uint8Array())),
    }
  }

  /** A payment and what turns its change into credits. */
  async pay(
    issuer: IssuerCalls,
    gateway: Pick<TestGateway, 'enclave'>,
    credits: readonly WalletCredit[],
    maximumFee: bigint,
  ): Promise<Paid> {
    const secrets = Array.from({ length: BLANK_SLOTS }, () => this.#next('change'))
    const blanks: Uint8Array[] = []
    for (const secret of secrets) {
      blanks.push(this.#blind(secret))
      // The issuer under test shares this thread.
      await new Promise((resolve) => setImmediate(resolve))
    }
    const payment: Payment = { keyset: this.keyset.id, enclave: gateway.enclave, maximumFee, credits, blanks }
    const sealed = await sealPayment(createNodeSuites(), issuer.config, payment)
    const credit = (exponent: number, i: number, signature: Uint8Array) => this.#credit(exponent, secrets[i], signature)
    return {
      ...sealed,
      payment,
      unblind: (change) => change.map(({ exponent, signature }, i) => credit(exponent, i, signature)),
    }
  }

  #next(path: DerivationPath): ReturnType<typeof deriveCredit> {
    const counter = path === 'purchase' ? this.#purchases++ : this.#changes++
    return deriveCredit(this.seed, path, this.keyset.id, counter)
  }

  #blind(secrets: ReturnType<typeof deriveCredit> | undefined): Uint8Array {
    if (secrets === undefined) throw new Error('expected secrets for every output')
    const message = creditMessage({ ...this.#domain, keyset: this.keyset.id }, secrets.exitKey, secrets.secret)
    return encodeG1(blindMessage(message, secrets.blinding))
  }

  #credit(exponent: number, secrets: ReturnType<typeof deriveCredit> | undefined, signature: Uint8Array): WalletCredit {
    if (secrets === undefined) throw new Error('expected secrets for every credit')
    const unblinded = encodeG1(unblindSignature(decodeG1(signature), secrets.blinding))
    return { exponent, secret: secrets.secret, exitKey: secrets.exitKey, signature: unblinded }
  }
}

export type Purchase = {
  readonly request: { readonly claimKey: Hex }
  readonly body: unknown
  open(answer: { signatures: readonly Uint8Array[] }): WalletCredit[]
}

export type Paid = SealedPayment & {
  readonly payment: Payment
  unblind(change: readonly { exponent: number; signature: Uint8Array }[]): WalletCredit[]
}

/** A gateway's side of the issuer's interface. */
export class TestGateway {
  readonly #privateKey: Uint8Array
  readonly enclave: Hex

  constructor(name: string) {
    this.#privateKey = keccak256(encodeUtf8(name))
    this.enclave = enclaveOfKey(this.#privateKey).toLowerCase() as Hex
  }

  reserve(issuer: StagedIssuer, sealed: Uint8Array): Promise<{ payment: Hex; maximumFee: bigint; expiresAt: bigint }> {
    const { enclave: gateway } = this
    const digest = hashReserve({ gateway, payment: toHex(keccak256(sealed)) }, DOMAIN)
    const body = { gateway, sealedPayment: toBase64(sealed), signature: signDigest(digest, this.#privateKey) }
    return issuer.call(ReserveAnswerSchema, 'POST', '/v1/reserve', body)
  }

  renew(issuer: StagedIssuer, payment: Hex): Promise<{ expiresAt: bigint }> {
    const signature = signDigest(hashRenew({ payment }, DOMAIN), this.#privateKey)
    return issuer.call(RenewAnswerSchema, 'POST', '/v1/renew', { payment, signature })
  }

  capture(issuer: StagedIssuer, payment: Hex, fee: bigint): Promise<CaptureAnswer> {
    const signature = signDigest(hashCapture({ payment, fee }, DOMAIN), this.#privateKey)
    return issuer.call(CaptureAnswerSchema, 'POST', '/v1/capture', { payment, fee, signature })
  }
}

/** Payments of this one's locator, as the public tiles list them. */
export async function locate(issuer: IssuerCalls, { payment }: Paid): Promise<readonly LocatedPayment[]> {
  const locator = paymentLocator(payment.blanks[0] ?? new Uint8Array())
  const tile = await issuer.call(ChangeTileSchema, 'GET', `/v1/change/${payment.keyset}/${locator.slice(2, 10)}`)
  return tile.payments.filter((listed) => listed.locator === locator)
}

/** Change of a payment from the public tiles; nothing where it is not there. */
export async function restore(issuer: IssuerCalls, paid: Paid): Promise<WalletCredit[]> {
  return (await locate(issuer, paid)).flatMap(({ change = [] }) => paid.unblind(change))
}
