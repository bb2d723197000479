/**
 * Price lists: what a gateway charges, and the one way to compute a fee from it.
 *
 * Amounts are units of 10^12 base units of OPG. A fee is rounded up to five significant bits, so that it says little about the
 * exact token counts and can be captured in few credits. Spec: docs/spec.md section 5.
 * @module
 */
import * as v from 'valibot'
import { encodeUtf8, type Hex, toHex } from './bytes.ts'
import { keccak256 } from './hash.ts'
import type { ClaimSource } from './receipt/receipt.ts'
import { parseJson, type Schema, uintOf } from './wire/json.ts'

/** Base units of OPG in one unit. */
export const BASE_UNITS_PER_UNIT = 1_000_000_000_000n

/** What one model costs: per request, and per million tokens in and out. `origin` is the TLS origin's host name, for `proxied`. */
export type PricedModel = {
  readonly model: string
  readonly source: ClaimSource
  readonly origin?: string
  readonly requestUnits: bigint
  readonly promptUnitsPerMillion: bigint
  readonly completionUnitsPerMillion: bigint
}

export type PriceList = { readonly format: 'sealpath-prices/1'; readonly models: readonly PricedModel[] }

/** A price of at most 48 bits: with it the fee of any answer a model can give stays far below the 64 bits of a receipt. */
const price = uintOf(48)

/** Every model stands in the list once: a second entry would be a second price. */
export const PriceListSchema: Schema<PriceList> = v.object({
  format: v.literal('sealpath-prices/1'),
  models: v.pipe(
    v.array(
      v.object({
        model: v.pipe(v.string(), v.minLength(1), v.maxLength(128)),
        source: v.picklist(['measured', 'proxied', 'operator']),
        origin: v.exactOptional(v.pipe(v.string(), v.minLength(1), v.maxLength(253))),
        requestUnits: price,
        promptUnitsPerMillion: price,
        completionUnitsPerMillion: price,
      }),
    ),
    v.minLength(1),
    v.maxLength(1_000),
    v.check(
      (models) => new Set(models.map((entry) => entry.model)).size === models.length,
      'expected every model once',
    ),
  ),
})

/** Parses a price list's bytes. Throws `WireError` on anything malformed, and on a model that is listed twice. */
export function parsePriceList(text: string): PriceList {
  return parseJson(PriceListSchema, text, 'price list')
}

/** The exact text that is served and hashed: two spaces, one final newline, keys in the order of the type. */
export function serializePriceList(list: PriceList): string {
  const models = list.models.map((entry) => ({
    model: entry.model,
    source: entry.source,
    ...(entry.origin === undefined ? {} : { origin: entry.origin }),
    requestUnits: entry.requestUnits.toString(),
    promptUnitsPerMillion: entry.promptUnitsPerMillion.toString(),
    completionUnitsPerMillion: entry.completionUnitsPerMillion.toString(),
  }))
  return `${JSON.stringify({ format: list.format, models }, null, 2)}\n`
}

/** keccak256 of the price list's exact text: how a receipt names it. */
export function hashPriceList(text: string): Hex {
  return toHex(keccak256(encodeUtf8(text)))
}

export type Usage = { readonly promptTokens: number; readonly completionTokens: number }

/** The fee in units, rounded up twice: to whole units, then to five significant bits. */
export function feeRoundedUp(price: PricedModel, usage: Usage): bigint {
  const million = 1_000_000n
  const metered =
    BigInt(usage.promptTokens) * price.promptUnitsPerMillion +
    BigInt(usage.completionTokens) * price.completionUnitsPerMillion
  return fiveBitsRoundedUp(price.requestUnits + (metered + million - 1n) / million)
}

/** The smallest number of at most five significant bits that is not below `units`. */
export function fiveBitsRoundedUp(units: bigint): bigint {
  const excessBits = BigInt(Math.max(0, units.toString(2).length - 5))
  const step = 1n << excessBits
  return ((units + step - 1n) / step) * step
}
