/** Which tiles are asked for at all. What is in them: test/services/aggregatorProofs.test.ts. @module */
import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { addTileRoutes } from './tilesRoutes.ts'

const app = new Hono()
const asked: number[] = []
addTileRoutes(app, {
  tiles: {
    readTile: async (_enclave, level) => {
      asked.push(level)
      return new Uint8Array(32)
    },
  },
})

test('a log of 2^53 leaves has tiles of level 6 at most', async () => {
  const get = async (level: number): Promise<number> =>
    (await app.request(`/v1/tiles/0x${'ab'.repeat(20)}/${level}/0?width=1`)).status
  expect([await get(0), await get(6), await get(7), await get(255)]).toEqual([200, 200, 404, 404])
  expect(asked).toEqual([0, 6])
})
