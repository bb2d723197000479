/** What a gateway serves and charges, asked of it inside the seal: nobody else hears the question, and nobody else can answer it. @module */
import { decodeUtf8, type Hex } from '#protocol/bytes.ts'
import { hashPriceList, type PricedModel, parsePriceList } from '#protocol/prices.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import { callThroughRelay, NOT_OPENED, notOpened, type RelayCallOptions } from './relayCall.ts'

export type GatewayTerms = {
  /** By the model's public name. */
  readonly prices: ReadonlyMap<string, PricedModel>
  /** keccak256 of the price list: receipts name it. */
  readonly pricesHash: Hex
  /** Tokens that a model can take in and write, where the gateway tells. */
  readonly contexts: ReadonlyMap<string, number>
}

/**
 * Reads `GET /v1/prices` and `GET /v1/models`. Throws `SealpathError`: `REQUEST_NOT_OPENED` when the gateway has other keys by now, `RELAY_FAILED`
 * when it does not answer, or not as specified.
 */
export async function readTerms(options: RelayCallOptions, gateway: TrustedGateway): Promise<GatewayTerms> {
  const get = async (path: string): Promise<string> => {
    const request = { method: 'GET', path, body: new Uint8Array() } as const
    const { status, body } = await callThroughRelay(options, gateway, request)
    if (status !== 200) throw new SealpathError('RELAY_FAILED', `the gateway answered ${status} for ${path}`)
    return decodeUtf8(body)
  }
  try {
    const [prices, models] = await Promise.all([get('/v1/prices'), get('/v1/models')])
    return {
      prices: new Map(parsePriceList(prices).models.map((entry) => [entry.model, entry])),
      pricesHash: hashPriceList(prices),
      contexts: readContexts(models),
    }
  } catch (cause) {
    if (cause instanceof SealpathError) throw cause.reason === NOT_OPENED ? notOpened(cause) : cause
    throw new SealpathError('RELAY_FAILED', 'the gateway does not tell its prices and models as specified', { cause })
  }
}

/** OpenAI's model list with our `context_length`. */
function readContexts(text: string): Map<string, number> {
  const { data } = JSON.parse(text) as { data?: readonly { id?: unknown; context_length?: unknown }[] }
  const known = (data ?? []).filter((entry) => typeof entry.id === 'string' && typeof entry.context_length === 'number')
  return new Map(known.map(({ id, context_length: length }) => [id as string, length as number]))
}
