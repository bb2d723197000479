import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { toJson } from '#protocol/wire/json.ts'
import { GatewayConfigSchema } from './config.ts'
import { applySettings, parseSettings } from './settings.ts'

const ADDRESS = `0x${'11'.repeat(20)}`
const OPERATOR = `0x${'22'.repeat(20)}`
const PRICE = {
  model: 'a model',
  source: 'measured',
  requestUnits: '1',
  promptUnitsPerMillion: '2',
  completionUnitsPerMillion: '3',
}
const config = v.parse(GatewayConfigSchema, {
  listen: { host: '127.0.0.1', port: 1 },
  agentListen: { host: '127.0.0.1', port: 2 },
  chain: { chainId: 31_337, registry: ADDRESS, settlement: ADDRESS, operator: ADDRESS },
  attester: { kind: 'nitro' },
  backends: [{ kind: 'embedded' }],
  prices: { format: 'sealpath-prices/1', models: [PRICE] },
  tick: { receipts: 10, seconds: 20 },
})

describe("a host's settings", () => {
  it('replace prices, tick and operator, and nothing else', () => {
    const prices = { format: 'sealpath-prices/1', models: [{ ...PRICE, requestUnits: '99' }] }
    const settings = parseSettings(JSON.stringify({ prices, tick: { receipts: 11, seconds: 21 }, operator: OPERATOR }))
    const applied = applySettings(config, settings)
    expect(applied.prices.models[0]?.requestUnits).toBe(99n)
    expect(applied.tick).toEqual({ receipts: 11, seconds: 21 })
    expect(applied.chain).toEqual({ ...config.chain, operator: OPERATOR })
    expect({ ...applied, chain: config.chain, prices: config.prices, tick: config.tick }).toEqual(config)
  })

  it('may be empty', () => {
    expect(applySettings(config, parseSettings('{}'))).toEqual(config)
  })

  it.each(['backends', 'chain', 'issuer', 'limits', 'listen', 'attester', '__proto__', 'Prices'])(
    'are refused with a sentence when they hold %s',
    (name) => {
      expect(() => parseSettings(`{"tick":{"receipts":99,"seconds":99},"${name}":{}}`)).toThrow(
        `the host's settings are refused: "${name}" is none of prices, tick, operator`,
      )
    },
  )

  it('may have 65,536 characters and not one more', () => {
    const tick = '{"tick":{"receipts":99,"seconds":99}}'
    expect(parseSettings(tick.padEnd(65_536))).toEqual(parseSettings(tick))
    expect(() => parseSettings(tick.padEnd(65_537))).toThrow('expected at most 65536 characters')
  })

  it.each([
    ['no JSON', '{', 'expected settings as JSON'],
    ['a list', '[]', 'settings: the whole is not'],
    ['a tick of nothing', '{"tick":{"receipts":0,"seconds":1}}', 'settings: tick.receipts is not'],
    ['prices of another format', '{"prices":{"format":"other","models":[]}}', 'settings: prices.format is not'],
  ])('are refused when they are %s', (_, text, sentence) => {
    expect(() => parseSettings(text)).toThrow(sentence)
  })

  it.each([
    { receipts: 9, seconds: 20 },
    { receipts: 10, seconds: 19 },
  ])('make no tick finer than the image says: %o', (tick) => {
    expect(() => applySettings(config, { tick })).toThrow("at least the image's 10 receipts and 20 seconds")
  })

  it.each([
    ['another model', [{ ...PRICE, model: 'another' }], 'the image has no "another" (measured)'],
    ['one model more', [PRICE, { ...PRICE, model: 'another' }], 'the image has no "another" (measured)'],
    ['another claim', [{ ...PRICE, source: 'operator' }], 'the image has no "a model" (operator)'],
    ['another origin', [{ ...PRICE, origin: 'a.example' }], 'the image has no "a model" (measured, a.example)'],
  ])('have no price for %s', (_, models, sentence) => {
    const text = toJson({ prices: { format: 'sealpath-prices/1', models } })
    expect(() => applySettings(config, parseSettings(text))).toThrow(sentence)
  })

  it('have a price for every model of the image', () => {
    const two = {
      ...config,
      prices: { ...config.prices, models: config.prices.models.flatMap((entry) => [entry, { ...entry, model: 'b' }]) },
    }
    expect(() => applySettings(two, { prices: config.prices })).toThrow('there is no price for "b" (measured)')
  })
})
