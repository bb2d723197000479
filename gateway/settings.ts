/**
 * Settings that an enclave's host may change without changing what the enclave measures to: who its operator is, what the operator charges, and how often heads
 * are made. They come from someone untrusted, so nothing else is taken, and no tick is finer than the image's: each tick shows the host what was earned since the last.
 * @module
 */
import * as v from 'valibot'
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import { type PriceList, PriceListSchema } from '#protocol/prices.ts'
import { address, parseJson, type Schema, WireError } from '#protocol/wire/json.ts'
import type { GatewayConfig } from './config.ts'

/** `operator` takes the place of `chain.operator`: whoever runs the host is paid. So one image serves all operators. */
export type GatewaySettings = Partial<Pick<GatewayConfig, 'prices' | 'tick'>> & { readonly operator?: Hex }

/** The longest document that is read, in UTF-16 code units; `init` of the image cuts at as many bytes. */
const SETTINGS_LENGTH_MAX = 65_536

/** Parses a host's document. Throws `AppError` (`BAD_CONFIG`) with a sentence: not JSON, too long, another setting, a value that is none. */
export function parseSettings(text: string): GatewaySettings {
  if (text.length > SETTINGS_LENGTH_MAX) throw refuse(`expected at most ${SETTINGS_LENGTH_MAX} characters`)
  try {
    const given = parseJson(NamesSchema, text, 'settings')
    const other = given.find((name) => !ALLOWED.has(name))
    if (other !== undefined) throw refuse(`${JSON.stringify(other)} is none of ${[...ALLOWED].join(', ')}`)
    return parseJson(SettingsSchema, text, 'settings')
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw refuse(cause.message, { cause })
  }
}

/**
 * The configuration with the host's settings in place of its own. Prices must be of the models that the image has, each with the same claim: the backends
 * are measured. Throws `AppError` (`BAD_CONFIG`).
 */
export function applySettings(config: GatewayConfig, settings: GatewaySettings): GatewayConfig {
  const { prices = config.prices, tick = config.tick, operator = config.chain.operator } = settings
  if (tick.receipts < config.tick.receipts || tick.seconds < config.tick.seconds) {
    const least = `${config.tick.receipts} receipts and ${config.tick.seconds} seconds`
    throw refuse(`tick: expected at least the image's ${least}, for each tick tells the host what was earned`)
  }
  const claims = claimsOf(config.prices)
  for (const claim of claimsOf(prices)) {
    if (!claims.delete(claim)) throw refuse(`prices: the image has no ${claim}`)
  }
  const [missing] = claims
  if (missing !== undefined) throw refuse(`prices: there is no price for ${missing}`)
  return { ...config, chain: { ...config.chain, operator }, prices, tick }
}

const positive = v.pipe(v.number(), v.integer(), v.minValue(1))
const SettingsSchema: Schema<GatewaySettings> = v.object({
  prices: v.exactOptional(PriceListSchema),
  tick: v.exactOptional(v.object({ receipts: positive, seconds: positive })),
  operator: v.exactOptional(address),
})
/** The names in an object: a list, or an object with a name that JavaScript treats apart, must not slip through. */
const NamesSchema: Schema<string[]> = v.pipe(
  v.unknown(),
  v.check((value) => typeof value === 'object' && value !== null && !Array.isArray(value)),
  v.transform((value) => Object.keys(value as object)),
)
const ALLOWED: ReadonlySet<string> = new Set(['prices', 'tick', 'operator'])

/** What a price list says besides prices. */
function claimsOf({ models }: PriceList): Set<string> {
  return new Set(
    models.map(
      ({ model, source, origin }) => `${JSON.stringify(model)} (${source}${origin === undefined ? '' : `, ${origin}`})`,
    ),
  )
}

function refuse(reason: string, options?: ErrorOptions): AppError {
  return new AppError('BAD_CONFIG', `the host's settings are refused: ${reason}`, options)
}
