/** What a native coin is worth in OPG: a fixed number, or one that somebody serves. @module */
import type { Logger } from '#node/log.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import { parseOpg } from '#protocol/credits/amounts.ts'
import type { PriceAddress } from './config.ts'

/** Units of OPG for one native coin; `undefined` while nobody knows. */
export type PriceSource = () => Promise<bigint | undefined>

const TIMEOUT_MS = 5_000
const DOCUMENT_BYTES_MAX = 65_536
/** A price that could not be renewed for so long counts no more. */
const STALE_MS = 3_600_000

/**
 * `opgPerCoin` as in `EconomicsPolicy`. A served price is fetched at most every `refreshSeconds` and used for an hour after its source fell silent.
 * `now` in milliseconds. Never rejects: what went wrong is logged when it begins.
 */
export function createPriceSource(opgPerCoin: string | PriceAddress, log: Logger, now: () => number): PriceSource {
  if (typeof opgPerCoin === 'string') {
    const price = positive(parseOpg(opgPerCoin))
    return async () => price
  }
  let known: { readonly price: bigint; readonly at: number } | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let isFailing = false
  return async () => {
    if (now() - askedAt >= opgPerCoin.refreshSeconds * 1_000) {
      askedAt = now()
      const price = await fetchPrice(opgPerCoin)
      if (price !== undefined) known = { price, at: now() }
      else if (!isFailing) log.warn('price source failed', { host: new URL(opgPerCoin.url).host })
      isFailing = price === undefined
    }
    return known !== undefined && now() - known.at < STALE_MS ? known.price : undefined
  }
}

async function fetchPrice({ url, pointer }: PriceAddress): Promise<bigint | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    if (!response.ok) {
      await response.body?.cancel()
      return undefined
    }
    const value = resolvePointer(JSON.parse(await readBodyText(response.body, DOCUMENT_BYTES_MAX)), pointer)
    return typeof value === 'number' || typeof value === 'string' ? readPrice(String(value)) : undefined
  } catch {
    // No answer, no JSON: the caller knows no price then.
    return undefined
  }
}

/** The value at a JSON pointer (RFC 6901), `undefined` where there is none. */
export function resolvePointer(document: unknown, pointer: string): unknown {
  let value = document
  for (const token of pointer.split('/').slice(1)) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}

/** A decimal number; places beyond those of a unit are cut. */
function readPrice(text: string): bigint | undefined {
  return positive(parseOpg(/^[0-9]+\.[0-9]{7,}$/.test(text) ? text.replace(/(\.[0-9]{6})[0-9]+$/, '$1') : text))
}

function positive(price: bigint | undefined): bigint | undefined {
  return price === undefined || price <= 0n ? undefined : price
}
