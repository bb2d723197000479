/**
 * Pays for requests from a wallet: what each can cost at most, sealed to the issuer, and the change taken when the answer ends. Whatever goes
 * wrong on the way is found again in the change tiles.
 * @module
 */
import { decodeUtf8, type Hex } from '#protocol/bytes.ts'
import { sealPayment } from '#protocol/credits/sealedPayment.ts'
import { type PriceList, parsePriceList } from '#protocol/prices.ts'
import { costAtMost } from '#protocol/requestCost.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { formatSealed, parseSealed } from '#protocol/wire/paymentField.ts'
import { SealpathError } from '../errors.ts'
import { preferredConfig, type TrustedGateway } from '../gateway.ts'
import { callThroughRelay } from '../relayCall.ts'
import type { IssuerAccess } from './issuerAccess.ts'
import { resolvePayment } from './restore.ts'
import { type Wallet, WalletError } from './wallet.ts'

/** An issuer that writes the wallet's keyset, and how to ask it. */
export type WalletIssuer = { readonly enclave: TrustedGateway; readonly access: IssuerAccess }

export type PayerOptions = {
  readonly wallet: Wallet
  readonly suites: SealingSuites
  /** Finds the issuer when first needed, and again after it failed. */
  readonly findIssuer: () => Promise<WalletIssuer>
  readonly timeoutMs: number
}

export type PaymentInFlight = {
  readonly id: Hex
  /** Value of the request's payment field. */
  readonly field: string
  /** The request never left: the credits are the wallet's again. */
  abandon(): Promise<void>
  /** The answer ended, with this change trailer if it had one. Answers the fee when it is known by now. */
  conclude(changeTrailer: string | undefined): Promise<bigint | undefined>
}

export type Payer = {
  /**
   * Pays for a request whose body is `body`. Undefined for a model without a price: the gateway says what is wrong with it. Throws `WalletError`
   * (`INSUFFICIENT`), `SealpathError`.
   */
  pay(gateway: TrustedGateway, model: string, body: Uint8Array): Promise<PaymentInFlight | undefined>
  /** Asks after every payment that is still open: its change, or its credits where they were never spent. Answers how many it closed. */
  recover(): Promise<number>
}

type Terms = { readonly prices: PriceList; readonly contexts: ReadonlyMap<string, number> }

export function createPayer(options: PayerOptions): Payer {
  const { wallet, suites, timeoutMs } = options
  const terms = new Map<Hex, Promise<Terms>>()
  let issuer: Promise<WalletIssuer> | undefined
  const theIssuer = (): Promise<WalletIssuer> => {
    issuer ??= options.findIssuer().catch((error: unknown) => {
      issuer = undefined
      throw error
    })
    return issuer
  }
  const termsOf = (gateway: TrustedGateway): Promise<Terms> => {
    const known = terms.get(gateway.enclave)
    if (known !== undefined) return known
    const reading = readTerms({ suites, timeoutMs }, gateway)
    terms.set(gateway.enclave, reading)
    reading.catch(() => terms.delete(gateway.enclave))
    return reading
  }
  const recover = async (): Promise<number> => {
    let closed = 0
    for (const { id } of wallet.openPayments) {
      const { access } = await theIssuer()
      if ((await resolvePayment(wallet, id, access)) !== 'pending') closed++
    }
    return closed
  }
  /** Change that did not come with its answer may be all that is missing. */
  const payOrRecover = async (enclave: Hex, maximumFee: bigint) => {
    try {
      return await wallet.pay(enclave, maximumFee)
    } catch (error) {
      const isShort = error instanceof WalletError && error.code === 'INSUFFICIENT'
      if (!isShort || (await recover()) === 0) throw error
      return wallet.pay(enclave, maximumFee)
    }
  }
  return {
    recover,
    async pay(gateway, model, body) {
      const [{ prices, contexts }, { enclave }] = await Promise.all([termsOf(gateway), theIssuer()])
      const price = prices.models.find((entry) => entry.model === model)
      if (price === undefined) return undefined
      const maximumFee = costAtMost(price, body, contexts.get(model))
      const { payment, id } = await payOrRecover(gateway.enclave, maximumFee)
      const sealed = await sealPayment(suites, preferredConfig(enclave.keyConfigs), payment)
      return {
        id,
        field: formatSealed(sealed.sealed),
        abandon: () => wallet.returnPayment(id),
        async conclude(trailer) {
          if (trailer === undefined) return undefined
          return wallet.finishPayment(id, await sealed.openChange(parseSealed(trailer)))
        },
      }
    },
  }
}

async function readTerms(
  options: { readonly suites: SealingSuites; readonly timeoutMs: number },
  gateway: TrustedGateway,
): Promise<Terms> {
  const get = async (path: string): Promise<string> => {
    const { status, body } = await callThroughRelay(options, gateway, { method: 'GET', path, body: new Uint8Array() })
    if (status !== 200) throw new SealpathError('RELAY_FAILED', `the gateway answered ${status} for ${path}`)
    return decodeUtf8(body)
  }
  const [prices, models] = await Promise.all([get('/v1/prices'), get('/v1/models')])
  return { prices: parsePriceList(prices), contexts: readContexts(models) }
}

/** OpenAI's model list with our `context_length`. */
function readContexts(text: string): Map<string, number> {
  const { data } = JSON.parse(text) as { data?: readonly { id?: unknown; context_length?: unknown }[] }
  const known = (data ?? []).filter((entry) => typeof entry.id === 'string' && typeof entry.context_length === 'number')
  return new Map(known.map(({ id, context_length: length }) => [id as string, length as number]))
}
