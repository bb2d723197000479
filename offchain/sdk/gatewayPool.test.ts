/** Which gateway a request goes to: by chance among those that would do, and by nothing else. @module */
import { describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import type { PricedModel } from '#protocol/prices.ts'
import { seededWords } from '../../test/support/seededWords.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import { GatewayPool, type PoolPorts, randomOrder, TermsError, type Wish } from './gatewayPool.ts'
import type { GatewayTerms } from './gatewayTerms.ts'
import type { GatewayPolicy } from './options.ts'

const OPERATOR: Hex = `0x${'0e'.repeat(20)}`
const word = seededWords(20_251_121)
const ASK: Wish = { model: 'm', isPaid: false }

function gatewayAt(name: string, relay = 'http://relay'): TrustedGateway {
  return {
    enclave: `0x${Buffer.from(name.padEnd(20)).toString('hex')}`,
    operator: OPERATOR,
    measurement: `0x${'00'.repeat(32)}`,
    isDevelopment: true,
    url: new URL(`/gateways/${name}`, relay),
    keyConfigs: [],
  }
}

function serving(...models: string[]): GatewayTerms {
  const price = (model: string): PricedModel => ({
    model,
    source: 'operator',
    requestUnits: 1n,
    promptUnitsPerMillion: 1n,
    completionUnitsPerMillion: 1n,
  })
  return { prices: new Map(models.map((model) => [model, price(model)])), pricesHash: '0x', contexts: new Map() }
}

/** A pool over gateways by name, with what each serves; undefined for one that does not tell. */
function poolOf(
  served: Readonly<Record<string, readonly string[] | undefined>>,
  policy: GatewayPolicy = {},
  ports: Partial<PoolPorts> = {},
): { pool: GatewayPool; asked: string[]; reads: () => number } {
  const asked: string[] = []
  let reads = 0
  const pool = new GatewayPool(
    {
      find: async () => {
        reads++
        return Object.keys(served).map((name) => gatewayAt(name))
      },
      readTerms: async (gateway) => {
        asked.push(nameOf(gateway))
        const models = served[nameOf(gateway)]
        if (models === undefined) throw new SealpathError('RELAY_FAILED', 'silent')
        return serving(...models)
      },
      word,
      now: () => 0,
      ...ports,
    },
    policy,
  )
  return { pool, asked, reads: () => reads }
}

function nameOf({ url }: TrustedGateway): string {
  return url.pathname.split('/').at(-1) ?? ''
}

async function chosen(pool: GatewayPool, wish: Wish = ASK, avoided: readonly TrustedGateway[] = []): Promise<string> {
  const choice = await pool.choose(wish, avoided)
  return choice === undefined ? '' : nameOf(choice.gateway)
}

describe('the choice', () => {
  it('is each gateway that would do as likely, and no other ever', async () => {
    const counts = new Map<string, number>()
    const served = { a: ['m'], b: ['other'], c: ['m', 'other'], d: [], e: ['m'] }
    for (let i = 0; i < 3_000; i++) {
      const name = await chosen(poolOf(served).pool)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    expect([...counts.keys()].sort()).toEqual(['a', 'c', 'e'])
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - 1_000) ** 2 / 1_000, 0)
    // 2 degrees of freedom: above 23.7 seven times in a million runs.
    expect(chiSquare).toBeLessThan(23.7)
  })

  it('stays with a gateway once it is made', async () => {
    const { pool, reads } = poolOf({ a: ['m'], b: ['m'], c: ['m'] })
    const first = await chosen(pool)
    for (let i = 0; i < 20; i++) expect(await chosen(pool)).toBe(first)
    expect(reads()).toBe(1)
  })

  it('leads each model to a gateway that serves it', async () => {
    const { pool } = poolOf({ a: ['m'], b: ['other'] })
    expect(await chosen(pool)).toBe('a')
    expect(await chosen(pool, { model: 'other', isPaid: false })).toBe('b')
    expect(await chosen(pool)).toBe('a')
  })

  it('asks no gateway about its models while nothing depends on them', async () => {
    const alone = poolOf({ a: ['m'] })
    expect(await alone.pool.choose(ASK)).toMatchObject({ terms: undefined })
    const several = poolOf({ a: ['m'], b: ['m'] })
    await several.pool.choose({ model: undefined, isPaid: false })
    expect([...alone.asked, ...several.asked]).toEqual([])
    expect(await alone.pool.choose({ model: 'm', isPaid: true })).toMatchObject({ terms: serving('m') })
    expect(alone.asked).toEqual(['a'])
  })

  it('asks each gateway once, and again what was never answered', async () => {
    const served: Record<string, string[] | undefined> = { a: undefined }
    const { pool, asked } = poolOf(served, { models: { m: {} } })
    await expect(pool.choose(ASK)).rejects.toThrow(TermsError)
    served.a = ['m']
    expect(await chosen(pool)).toBe('a')
    expect(await chosen(pool)).toBe('a')
    expect(asked).toEqual(['a', 'a'])
  })

  it('says which gateway does not tell, and why', async () => {
    const { pool } = poolOf({ a: undefined }, { priceLimit: { requestUnits: 5n } })
    const error = await pool.choose(ASK).catch((failure: unknown) => failure)
    expect(error).toMatchObject({ name: 'TermsError', gateway: gatewayAt('a'), cause: { code: 'RELAY_FAILED' } })
  })

  it('of a model that nobody serves is left to a gateway to refuse', async () => {
    const { pool } = poolOf({ a: ['m'], b: ['m'] })
    expect(['a', 'b']).toContain(await chosen(pool, { model: 'unknown', isPaid: false }))
  })

  it.each<[string, GatewayPolicy]>([
    ['MODEL_NOT_NAMED', { models: { other: {} } }],
    ['SOURCE_REFUSED', { models: { m: { sources: ['measured'] } } }],
    ['PRICE_TOO_HIGH', { priceLimit: { completionUnitsPerMillion: 0n } }],
  ])('is refused with the reason when the policy leaves nobody: %s', async (reason, policy) => {
    const { pool } = poolOf({ a: ['m'], b: ['m'] }, policy)
    await expect(pool.choose(ASK)).rejects.toMatchObject({ code: 'NO_GATEWAY', reason })
  })

  it('passes over gateways that failed, and ends with them', async () => {
    const { pool } = poolOf({ a: ['m'], b: ['m'] })
    const first = await pool.choose(ASK)
    const failed = first === undefined ? [] : [first.gateway]
    const second = await pool.choose(ASK, failed)
    expect(new Set([...failed, second?.gateway].map((gateway) => gateway && nameOf(gateway)))).toEqual(
      new Set(['a', 'b']),
    )
    expect(await pool.choose(ASK, [gatewayAt('a'), gatewayAt('b')])).toBeUndefined()
  })

  it('puts a gateway that failed behind all others from then on', async () => {
    const { pool } = poolOf({ a: ['m'], b: ['m'], c: ['m'] })
    const first = await pool.choose(ASK)
    if (first === undefined) throw new Error('expected a choice')
    pool.demote(first.gateway)
    const next = await chosen(pool)
    expect(next).not.toBe(nameOf(first.gateway))
    expect(
      await chosen(
        pool,
        ASK,
        ['a', 'b', 'c'].filter((name) => name !== nameOf(first.gateway)).map((name) => gatewayAt(name)),
      ),
    ).toBe(nameOf(first.gateway))
  })
})

describe('gateways and their terms', () => {
  it('are read again after five minutes, and at once when they led nowhere', async () => {
    let now = 0
    const { pool, asked, reads } = poolOf({ a: ['m'], b: ['m'] }, { models: { m: {} } }, { now: () => now })
    await pool.choose(ASK)
    now = 300_000
    await pool.choose(ASK)
    expect([reads(), asked.length]).toEqual([1, 1])
    now = 300_001
    await pool.choose(ASK)
    expect([reads(), asked.length]).toEqual([2, 2])
    pool.expire()
    await pool.choose(ASK)
    expect(reads()).toBe(3)
  })

  it('are read once for all that wait', async () => {
    const { pool, reads } = poolOf({ a: ['m'], b: ['m'] })
    await Promise.all(Array.from({ length: 10 }, () => pool.choose(ASK)))
    expect(reads()).toBe(1)
  })

  it('that cannot be read fail the request, and are tried anew by the next', async () => {
    let isDown = true
    const find = async () => {
      if (isDown) throw new SealpathError('CHAIN_FAILED', 'down')
      return [gatewayAt('a')]
    }
    const { pool } = poolOf({}, {}, { find })
    await expect(pool.choose(ASK)).rejects.toMatchObject({ code: 'CHAIN_FAILED' })
    isDown = false
    expect(await chosen(pool)).toBe('a')
  })
})

describe('several relays', () => {
  it('make no enclave likelier that stands behind more of them', () => {
    const found = ['http://r1', 'http://r2', 'http://r3'].map((relay) => gatewayAt('a', relay))
    found.push(gatewayAt('b', 'http://r1'))
    let first = 0
    for (let i = 0; i < 4_000; i++) if (randomOrder(found, word)[0]?.enclave === gatewayAt('b').enclave) first++
    // A half of 4,000, give or take five standard deviations of 31.6.
    expect(Math.abs(first - 2_000)).toBeLessThan(158)
  })

  it('are each tried for an enclave, all enclaves first', () => {
    const found = ['http://r1', 'http://r2'].flatMap((relay) => ['a', 'b'].map((name) => gatewayAt(name, relay)))
    const order = randomOrder(found, word)
    expect(new Set(order).size).toBe(4)
    expect(new Set(order.slice(0, 2).map(({ enclave }) => enclave)).size).toBe(2)
    expect(randomOrder([], word)).toEqual([])
  })

  it('that failed are gone around', async () => {
    const find = async () =>
      ['http://r1', 'http://r2'].flatMap((relay) => ['a', 'b'].map((name) => gatewayAt(name, relay)))
    for (let i = 0; i < 20; i++) {
      const { pool } = poolOf({ a: ['m'], b: ['m'] }, {}, { find })
      const first = await pool.choose(ASK)
      if (first === undefined) throw new Error('expected a choice')
      const second = await pool.choose(ASK, [first.gateway])
      expect(second?.gateway.url.origin).not.toBe(first.gateway.url.origin)
    }
  })
})
