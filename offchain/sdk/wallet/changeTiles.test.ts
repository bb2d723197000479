/** Which questions a session of tiles asks, as an issuer would hear them. @module */
import { describe, expect, it } from 'vitest'
import { encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { ChangeTile, IssuerErrorCode, LocatedPayment } from '#protocol/wire/issuerApi.ts'
import { SealpathError } from '../errors.ts'
import { ChangeTiles } from './changeTiles.ts'

const refusal = (reason: IssuerErrorCode) => new SealpathError('ISSUER_REFUSED', 'no', { reason })

/** An issuer of so many payments, at most `tileMax` in one tile, and what it is asked. */
function issuerOf(count: number, tileMax: number) {
  const payments: LocatedPayment[] = Array.from({ length: count }, (_, i) => ({
    locator: toHex(keccak256(encodeUint(BigInt(i), 4))),
  }))
  const asked: string[] = []
  const read = async (prefix: string): Promise<ChangeTile> => {
    asked.push(prefix)
    const tile = payments.filter(({ locator }) => locator.startsWith(`0x${prefix}`))
    if (tile.length > tileMax) throw refusal('TILE_TOO_LARGE')
    return { payments: tile }
  }
  return { locators: payments.map(({ locator }) => locator), asked, tiles: new ChangeTiles(read) }
}

const strange = (i: number): Hex => toHex(keccak256(encodeUint(BigInt(i), 8)))

describe('while all payments fit into one answer', () => {
  it('one question without a digit answers for every payment, listed or not', async () => {
    const { tiles, asked, locators } = issuerOf(40, 40)
    for (const locator of locators) expect(await tiles.find(locator)).toEqual([{ locator }])
    for (let i = 0; i < 20; i++) expect(await tiles.find(strange(i))).toEqual([])
    expect(asked).toEqual([''])
  })
})

describe('when they do not', () => {
  it.each([
    ['one digit', 400, 60, 1],
    ['two digits', 2_000, 40, 2],
  ])('it shows %s, learnt once, and asks for no tile twice', async (_, count, tileMax, digits) => {
    const { tiles, asked, locators } = issuerOf(count, tileMax)
    const wanted = [...locators.slice(0, 30), ...Array.from({ length: 10 }, (_, i) => strange(i))]
    for (const locator of wanted) expect((await tiles.find(locator)).length).toBe(locators.includes(locator) ? 1 : 0)
    const learning = Array.from({ length: digits }, (_, shown) => (wanted[0] ?? '0x').slice(2, 2 + shown))
    expect(asked.slice(0, digits)).toEqual(learning)
    const prefixes = asked.slice(digits)
    expect(prefixes.every((prefix) => prefix.length === digits)).toBe(true)
    expect(new Set(prefixes)).toEqual(new Set(wanted.map((locator) => locator.slice(2, 2 + digits))))
    expect(prefixes.length).toBe(new Set(prefixes).size)
    expect(asked.length - digits).toBeLessThanOrEqual(wanted.length)
  })

  it('a tile that is larger than the others takes one digit more from there on', async () => {
    const asked: string[] = []
    const tiles = new ChangeTiles(async (prefix) => {
      asked.push(prefix)
      if (prefix === '' || prefix === 'b') throw refusal('TILE_TOO_LARGE')
      return { payments: [] }
    })
    const locatorOf = (start: string): Hex => `0x${start.padEnd(64, '0')}`
    for (const start of ['a1', 'b2', 'a3', 'b2', 'c4', 'b25']) await tiles.find(locatorOf(start))
    expect(asked).toEqual(['', 'a', 'b', 'b2', 'c4'])
  })

  it('shows eight digits at most, and asks for nothing again that fails otherwise', async () => {
    const asked: string[] = []
    let reason: IssuerErrorCode = 'TILE_TOO_LARGE'
    const tiles = new ChangeTiles(async (prefix) => {
      asked.push(prefix)
      throw refusal(reason)
    })
    await expect(tiles.find(strange(1))).rejects.toMatchObject({ reason: 'TILE_TOO_LARGE' })
    expect(asked.map((prefix) => prefix.length)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    asked.length = 0
    reason = 'UNAVAILABLE'
    await expect(tiles.find(strange(1))).rejects.toMatchObject({ reason: 'UNAVAILABLE' })
    expect(asked).toHaveLength(1)
  })
})

it('keeps 64 tiles, and asks for the oldest again after one more', async () => {
  const asked: string[] = []
  const tiles = new ChangeTiles(async (prefix) => {
    asked.push(prefix)
    if (prefix.length < 2) throw refusal('TILE_TOO_LARGE')
    return { payments: [] }
  })
  const find = (i: number) => tiles.find(`0x${i.toString(16).padStart(2, '0').padEnd(64, '0')}`)
  for (let i = 0; i < 64; i++) await find(i)
  await find(0)
  // One without a digit and one with one did not fit.
  expect(asked).toHaveLength(2 + 64)
  await find(64)
  await find(1)
  await find(0)
  expect(asked.slice(2 + 64)).toEqual(['40', '00'])
})
