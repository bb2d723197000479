/** How far a body may be ahead of a reader who takes nothing. All else of paced answers: pacedResponse.test.ts. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { encodeResponseHead } from '#protocol/sealing/binaryHttp.ts'
import type { ChunkedResponseSealer } from '#protocol/sealing/chunkSealing.ts'
import { fillerComment, TICK_MS } from '#protocol/shape.ts'
import { ExchangeLifetime } from './exchangeLifetime.ts'
import { sealPaced } from './pacedResponse.ts'

const HEAD = { status: 200, headers: [] }
/** Of a piece above 16,383 bytes. */
const LENGTH_BYTES = 4

it.each([
  [262_144, true],
  [262_145, false],
])('a body goes on behind %i bytes that wait: %s', async (bytes, isAsked) => {
  let isAskedForMore = false
  async function* body(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(bytes - LENGTH_BYTES - encodeResponseHead(HEAD).length)
    isAskedForMore = true
  }
  const lifetime = new ExchangeLifetime(new AbortController().signal)
  const answer = Promise.resolve({ ...HEAD, body: body(), filler: fillerComment })
  const pace = { kind: 'paced', tickMs: TICK_MS, readerTimeoutMs: 30_000, deliveryMsMax: 600_000 } as const
  // Nothing is sealed before it is read.
  sealPaced({} as ChunkedResponseSealer<Uint8Array>, answer, pace, lifetime, () => {})
  await sleep(1)
  expect(isAskedForMore).toBe(isAsked)
  lifetime.leave()
})
