import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  feeRoundedUp,
  fiveBitsRoundedUp,
  hashPriceList,
  type PriceList,
  parsePriceList,
  serializePriceList,
} from './prices.ts'
import { WireError } from './wire/json.ts'

const SEEDED = { seed: 20_261_121, numRuns: 2_000 }
const UNIT64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })

const LIST: PriceList = {
  format: 'sealpath-prices/1',
  models: [
    {
      model: 'demo',
      source: 'measured',
      requestUnits: 1n,
      promptUnitsPerMillion: 500n,
      completionUnitsPerMillion: 1_500n,
    },
    {
      model: 'far',
      source: 'proxied',
      origin: 'api.example.org',
      requestUnits: 0n,
      promptUnitsPerMillion: 1_000_000n,
      completionUnitsPerMillion: 3_000_000n,
    },
  ],
}
const [DEMO, FAR] = LIST.models
if (DEMO === undefined || FAR === undefined) throw new Error('expected two models')

test('rounds up to at most five significant bits, by less than a sixteenth', () => {
  fc.assert(
    fc.property(UNIT64, (units) => {
      const rounded = fiveBitsRoundedUp(units)
      expect(rounded >= units).toBe(true)
      expect((rounded - units) * 16n < units + 16n).toBe(true)
      expect(rounded.toString(2).replace(/0+$/, '').length).toBeLessThanOrEqual(5)
    }),
    SEEDED,
  )
})

test('finds the smallest such number', () => {
  const short = Array.from({ length: 4_096 }, (_, i) => i).filter((i) => i.toString(2).replace(/0+$/, '').length <= 5)
  for (let units = 0; units < 2_000; units++) {
    expect(fiveBitsRoundedUp(BigInt(units))).toBe(BigInt(short.find((candidate) => candidate >= units) ?? -1))
  }
})

test('rounds what is rounded to itself, and never reverses an order', () => {
  fc.assert(
    fc.property(UNIT64, UNIT64, (a, b) => {
      expect(fiveBitsRoundedUp(fiveBitsRoundedUp(a))).toBe(fiveBitsRoundedUp(a))
      const [low, high] = a < b ? [a, b] : [b, a]
      expect(fiveBitsRoundedUp(low) <= fiveBitsRoundedUp(high)).toBe(true)
    }),
    SEEDED,
  )
})

test.each([
  ['nothing used', DEMO, 0, 0, 1n],
  ['one token, rounded up to a whole unit', DEMO, 1, 0, 2n],
  ['exactly a million tokens', DEMO, 1_000_000, 0, 512n],
  ['both kinds', DEMO, 1_000_000, 1_000_000, 2_048n],
  ['a free request', FAR, 0, 0, 0n],
  ['31 units, which need five bits', FAR, 31, 0, 31n],
  ['33 units, which need six', FAR, 33, 0, 34n],
  ['both kinds together', FAR, 10, 30, 100n],
])('charges for %s', (_what, price, promptTokens, completionTokens, fee) => {
  expect(feeRoundedUp(price, { promptTokens, completionTokens })).toBe(fee)
})

test('parses what it prints, byte for byte', () => {
  const text = serializePriceList(LIST)
  expect(parsePriceList(text)).toEqual(LIST)
  expect(serializePriceList(parsePriceList(text))).toBe(text)
  expect(text.endsWith('}\n')).toBe(true)
})

test('has another hash after any one byte changes', () => {
  const text = serializePriceList(LIST)
  const hash = hashPriceList(text)
  for (let i = 0; i < text.length; i += 13) {
    const other = `${text.slice(0, i)}${text[i] === 'x' ? 'y' : 'x'}${text.slice(i + 1)}`
    expect(hashPriceList(other)).not.toBe(hash)
  }
  expect(hashPriceList(`${text}\n`)).not.toBe(hash)
})

test.each([
  ['another format', { ...plain(), format: 'sealpath-prices/2' }],
  ['no models', { ...plain(), models: [] }],
  ['a model twice', { ...plain(), models: [...plain().models, ...plain().models.slice(0, 1)] }],
  ['a number for an amount', changed({ requestUnits: 1 })],
  ['a negative amount', changed({ requestUnits: '-1' })],
  ['a fraction', changed({ promptUnitsPerMillion: '1.5' })],
  ['a leading zero', changed({ completionUnitsPerMillion: '01' })],
  ['a price above 48 bits', changed({ requestUnits: (2n ** 48n).toString() })],
  ['an unknown source', changed({ source: 'rumour' })],
  ['an empty name', changed({ model: '' })],
])('refuses %s', (_what, list) => {
  expect(() => parsePriceList(JSON.stringify(list))).toThrow(WireError)
})

test('refuses a thousand and one models, and takes a thousand', () => {
  const models = Array.from({ length: 1_001 }, (_, i) => ({ ...plain().models[0], model: `m${i}` }))
  expect(() => parsePriceList(JSON.stringify({ ...plain(), models }))).toThrow(WireError)
  expect(parsePriceList(JSON.stringify({ ...plain(), models: models.slice(1) })).models).toHaveLength(1_000)
})

test('keeps the dearest fee of a billion tokens within the 64 bits of a receipt', () => {
  const price = 2n ** 48n - 1n
  const dearest = { ...DEMO, requestUnits: price, promptUnitsPerMillion: price, completionUnitsPerMillion: price }
  const fee = feeRoundedUp(dearest, { promptTokens: 1_000_000_000, completionTokens: 1_000_000_000 })
  expect(fee < 2n ** 64n).toBe(true)
})

function plain(): { format: string; models: Record<string, unknown>[] } {
  return JSON.parse(serializePriceList(LIST))
}

function changed(fields: Record<string, unknown>): unknown {
  return { ...plain(), models: [{ ...plain().models[0], ...fields }] }
}
