/** How much is asked for at once. What is answered: test/services/aggregatorProofs.test.ts. @module */
import { Hono } from 'hono'
import { expect, test } from 'vitest'
import type { Prover } from './proofs.ts'
import { addProofRoutes } from './proofsRoutes.ts'

const LEAF = `0x${'ab'.repeat(32)}`

function appOf(prove: (leaves: readonly Uint8Array[]) => Promise<unknown>): Hono {
  const app = new Hono()
  addProofRoutes(app, { prover: { prove } as Prover })
  return app
}

test('32 requests for proofs are answered at once, and the next one is asked to come back', async () => {
  const proving = Promise.withResolvers<{ state: 'pending' }[]>()
  const app = appOf(() => proving.promise)
  const answers = Array.from({ length: 33 }, (_, i) =>
    i % 2 === 0
      ? app.request(`/v1/proofs/${LEAF}`)
      : app.request('/v1/proofs', { method: 'POST', body: `{"leaves":["${LEAF}"]}` }),
  )
  // The last one is not waiting for a proof.
  setImmediate(() => proving.resolve([{ state: 'pending' }]))
  const statuses = (await Promise.all(answers)).map(({ status }) => status)
  expect(statuses.filter((status) => status === 503)).toHaveLength(1)
  expect(statuses.at(-1)).toBe(503)
  expect((await app.request(`/v1/proofs/${LEAF}`)).status).toBe(202)
})

test('a request for proofs has 32,768 bytes and not one more', async () => {
  const app = appOf(async (leaves) => leaves.map(() => ({ state: 'unknown' })))
  const post = async (bytes: number): Promise<number> => {
    const body = `{"leaves":["${LEAF}"]}`.padEnd(bytes)
    return (await app.request('/v1/proofs', { method: 'POST', body, headers: { 'content-length': `${bytes}` } })).status
  }
  expect([await post(32_768), await post(32_769)]).toEqual([200, 413])
})
