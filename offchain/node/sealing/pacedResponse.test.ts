/** Paced answers on fake time: one chunk a tick, whatever the answer is. @module */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { decodeUtf8, encodeUtf8, joinBytes } from '#protocol/bytes.ts'
import { RESPONSE_LIMITS, type SealedHttpRequest, sealHttpRequest } from '#protocol/sealing/client.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import { FillerStripper, fillerComment, TICK_MS } from '#protocol/shape.ts'
import type { AnswerShape, Pace } from './answerShape.ts'
import type { InnerResponse } from './innerResponse.ts'
import { generateGatewayKey, KeyRing } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'
import { ReplayMemory } from './replayMemory.ts'
import { createSealedServer, type SealedExchange } from './sealedServer.ts'

const SHAPE = {
  kind: 'paced',
  tickMs: TICK_MS,
  readerTimeoutMs: 30_000,
  deliveryMsMax: 600_000,
} as const satisfies AnswerShape
const JSON_HEADERS = [['content-type', 'application/json']] as const
const suites = createNodeSuites()
const keys = new KeyRing()
const key = await generateGatewayKey(suites, 1, KEM_X25519)
keys.add(key)

let faults: unknown[]
let rejections: unknown[]
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(() => {
  faults = []
  rejections = []
  process.on('unhandledRejection', onRejection)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] })
})

afterEach(async () => {
  vi.useRealTimers()
  await new Promise((resolve) => setTimeout(resolve, 1))
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

type Handle = (exchange: SealedExchange) => Promise<InnerResponse>
type Opened = { readonly sealed: SealedHttpRequest; readonly response: Response }

async function ask(handle: Handle, change: Partial<Pace> = {}, signal?: AbortSignal): Promise<Opened> {
  const server = createSealedServer({
    keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: (_inner, exchange) => handle(exchange),
    shapeOf: () => ({ ...SHAPE, ...change }),
    onFault: (error) => faults.push(error),
  })
  const inner = { method: 'POST', scheme: 'https', authority: 'g', path: '/', headers: [], body: encodeUtf8('hi') }
  const sealed = await sealHttpRequest(suites, key.config, inner)
  const { body, contentType } = sealed
  const headers = { 'content-type': contentType, 'content-length': `${body.length}` }
  const init = { method: 'POST', headers, body, ...(signal && { signal }) }
  return { sealed, response: await server(new Request('https://g/gateway', init)) }
}

/** A chunk: its sealed length, and the milliseconds since the request at which it came. */
type Seen = { readonly bytes: number; readonly atMs: number }
type Answer = { readonly seen: Seen[]; status: number; text: string; trailers: unknown }

/** Lets time pass until `promise` settles. */
async function passing<T>(promise: Promise<T>): Promise<T> {
  let isDone = false
  const watched = promise.finally(() => {
    isDone = true
  })
  watched.catch(() => undefined)
  while (!isDone) {
    await vi.advanceTimersByTimeAsync(1)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return watched
}

function readerOf({ body }: Response): ReadableStreamDefaultReader<Uint8Array> {
  if (body === null) throw new Error('expected a body')
  return body.getReader()
}

async function readAll({ sealed, response }: Opened): Promise<Answer> {
  const begun = performance.now()
  const answer: Answer = { seen: [], status: 0, text: '', trailers: undefined }
  const reader = sealed.openResponse(RESPONSE_LIMITS)
  const pieces: Uint8Array[] = []
  const take = (events: Awaited<ReturnType<typeof reader.push>>): void => {
    for (const event of events) {
      if (event.type === 'head') answer.status = event.status
      else if (event.type === 'body') pieces.push(event.bytes)
      else answer.trailers = event.trailers
    }
  }
  for await (const part of response.body ?? []) {
    answer.seen.push({ bytes: part.length, atMs: performance.now() - begun })
    take(await reader.push(part))
  }
  take(await reader.end())
  answer.text = decodeUtf8(new FillerStripper().push(joinBytes(pieces)))
  return answer
}

const answered = async (handle: Handle, change?: Partial<Pace>): Promise<Answer> =>
  passing(readAll(await ask(handle, change)))

/** What a trace of `count` chunks is, whatever is in them. */
function steady(count: number): Seen[] {
  return Array.from({ length: count }, (_, i) => ({
    bytes: 4_096 + 16 + (i === count - 1 ? 1 : 2) + (i === 0 ? 16 : 0),
    atMs: (i + 1) * TICK_MS,
  }))
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const whole = (text: string, status = 200): InnerResponse => ({ status, headers: JSON_HEADERS, body: encodeUtf8(text) })

/** Whole answers of `text`, and how many of them wait for their readers. */
function holding(text: string): { held: { count: number }; handle: Handle } {
  const held = { count: 0 }
  const handle = async (): Promise<InnerResponse> => {
    held.count++
    return {
      ...whole(text),
      release: () => {
        held.count--
      },
    }
  }
  return { held, handle }
}

/** Events at milliseconds since the head. */
function events(...atMs: number[]): InnerResponse {
  async function* body(): AsyncGenerator<Uint8Array> {
    const begun = performance.now()
    for (const at of atMs) {
      await wait(begun + at - performance.now())
      yield encodeUtf8(`data: ${at}\n\n`)
    }
  }
  return {
    status: 200,
    headers: [['content-type', 'text/event-stream']],
    body: body(),
    filler: fillerComment,
    trailers: () => [['receipt', 'x']],
  }
}

describe('answers within eight ticks', () => {
  const cases: [string, Handle, number, string][] = [
    ['a whole one', async () => whole('{}'), 200, '{}'],
    ['one of many bytes', async () => whole('x'.repeat(30_000)), 200, 'x'.repeat(30_000)],
    ['a refusal', async () => whole('{"error":1}', 404), 404, '{"error":1}'],
    ['a late one', async () => wait(333).then(() => whole('late')), 200, 'late'],
    ['a stream', async () => events(0, 10, 60, 200), 200, 'data: 0\n\ndata: 10\n\ndata: 60\n\ndata: 200\n\n'],
    ['a late stream', async () => wait(111).then(() => events(0, 90)), 200, 'data: 0\n\ndata: 90\n\n'],
    ['a stream of nothing', async () => events(), 200, ''],
  ]

  it.each(cases)('all look the same: %s', async (_what, handle, status, text) => {
    const answer = await answered(handle)
    expect(answer).toMatchObject({ status, text })
    expect(answer.seen).toEqual(steady(8))
    expect(faults).toEqual([])
  })

  it('and so do failures of the handler, of its head, of the trailers of a whole body', async () => {
    const failing: Handle[] = [
      () => Promise.reject(new Error('SECRET')),
      async () => wait(100).then(() => Promise.reject(new Error('SECRET'))),
      async () => ({ ...whole('{}'), headers: [['Bad Name', 'x']] }),
      async () => ({ ...whole('{}'), trailers: () => Promise.reject(new Error('SECRET')) }),
    ]
    for (const handle of failing) {
      const answer = await answered(handle)
      expect([answer.status, answer.seen]).toEqual([500, steady(8)])
      expect(answer.text).not.toContain('SECRET')
    }
    expect(faults).toHaveLength(failing.length)
  })
})

describe('longer answers', () => {
  it.each([
    ['whole, after a minute', async () => wait(60_000).then(() => whole('{}')), 2_048],
    ['whole, of many bytes', async () => whole('x'.repeat(40_000)), 16],
    ['a stream', async () => events(0, 400, 5_000), 128],
  ] as const)('take a power of two of chunks, a tick each: %s', async (_what, handle, count) => {
    const answer = await answered(handle)
    expect(answer.status).toBe(200)
    expect(answer.seen).toEqual(steady(count))
  })

  it('are handed on with the next tick', async () => {
    const { sealed, response } = await ask(async () => wait(120).then(() => events(0, 1_000)))
    const reader = sealed.openResponse()
    const bodyReader = readerOf(response)
    const headAt = await passing(
      (async () => {
        for (let ticks = 1; ; ticks++) {
          const next = await bodyReader.read()
          const found = await reader.push(next.value ?? new Uint8Array())
          if (found.some(({ type }) => type === 'head')) return ticks
        }
      })(),
    )
    expect(headAt).toBe(3)
    await bodyReader.cancel()
  })
})

describe('an answer that fails behind its head', () => {
  it.each(['body', 'trailers', 'filler'])('ends at a tick, without its final chunk: %s', async (part) => {
    const failing = async (): Promise<InnerResponse> => {
      const response = events(0)
      async function* body(): AsyncGenerator<Uint8Array> {
        yield encodeUtf8('data: 1\n\n')
        await wait(70)
        throw new Error('upstream broke')
      }
      if (part === 'body') return { ...response, body: body() }
      if (part === 'trailers') return { ...response, trailers: () => Promise.reject(new Error('no receipt')) }
      return { status: 200, headers: [], body: body() }
    }
    const opened = await ask(failing)
    await expect(passing(readAll(opened))).rejects.toMatchObject({ code: 'TRUNCATED' })
    expect(faults).toHaveLength(1)
  })
})

describe('a reader', () => {
  /** Handlers that never get to their head, and never get to their end. */
  function endless(hasHead: boolean) {
    const state = { isAborted: false, isStopped: false, hasTrailers: false, produced: 0 }
    const handle: Handle = async ({ signal }) => {
      const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      void aborted.then(() => {
        state.isAborted = true
      })
      if (!hasHead) {
        await aborted
        throw new Error('gave up')
      }
      async function* body(): AsyncGenerator<Uint8Array> {
        try {
          for (;;) {
            await wait(1)
            state.produced += 1_000
            yield encodeUtf8(`data: ${'x'.repeat(992)}\n\n`)
          }
        } finally {
          state.isStopped = true
        }
      }
      const trailers = (): [] => {
        state.hasTrailers = true
        return []
      }
      return { ...events(), body: body(), trailers }
    }
    return { state, handle }
  }

  it.each([false, true])('who leaves ends the answer at once, behind its head: %s', async (hasHead) => {
    for (const how of ['cancel', 'abort']) {
      const { state, handle } = endless(hasHead)
      const abort = new AbortController()
      const { response } = await ask(handle, {}, abort.signal)
      const reader = readerOf(response)
      await passing(Promise.all([reader.read(), reader.read()]))
      if (how === 'cancel') await reader.cancel()
      else abort.abort()
      expect(state.isAborted || how === 'abort').toBe(true)
      await passing(wait(TICK_MS))
      expect(state).toMatchObject({ isAborted: true, isStopped: hasHead, hasTrailers: false })
    }
    expect(faults).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([false, true])('who takes nothing for too long is as one who left, behind the head: %s', async (hasHead) => {
    const { state, handle } = endless(hasHead)
    const { sealed, response } = await ask(handle, { readerTimeoutMs: 1_000 })
    const reader = readerOf(response)
    await passing(reader.read())
    await passing(wait(990))
    expect(state.isAborted).toBe(false)
    await passing(wait(20))
    expect(state).toMatchObject({ isAborted: true, isStopped: hasHead })
    expect((await passing(reader.read())).done).toBe(true)
    await expect(sealed.openResponse().end()).rejects.toMatchObject({ code: 'TRUNCATED' })
  })

  it('who takes nothing of a whole answer is as one who left too', async () => {
    const { held, handle } = holding('x'.repeat(100_000))
    const { response } = await ask(handle, { readerTimeoutMs: 1_000 })
    await passing(wait(990))
    expect(held.count).toBe(1)
    await passing(wait(20))
    expect(held.count).toBe(0)
    const reader = readerOf(response)
    expect((await passing(reader.read())).done).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([
    ['of one chunk', 100, 2],
    ['of ten', 10 * 4_096 - 100, 11],
    // What is around the content: a head of 34 bytes, four for its length, two for its end and the trailers.
    ['that needs no filling', 8 * 4_096 - 40, 9],
  ])('is waited for until it has all of a whole answer: one %s', async (_what, bytes, reads) => {
    const { held, handle } = holding('x'.repeat(bytes))
    const { response } = await ask(handle)
    const reader = readerOf(response)
    for (let i = 1; i < reads; i++) await passing(reader.read())
    const isOver = reads === 9
    expect(held.count).toBe(isOver ? 0 : 1)
    const next = await passing(reader.read())
    expect([next.done, held.count]).toEqual([isOver, 0])
    await reader.cancel()
  })

  it('of a whole answer that cannot be sent holds nothing of it', async () => {
    for (const change of [{ headers: [['Bad Name', 'x']] as const }, { trailers: () => Promise.reject(new Error()) }]) {
      const { held, handle } = holding('{}')
      const answer = await answered(async (exchange) => ({ ...(await handle(exchange)), ...change }))
      expect([answer.status, held.count]).toEqual([500, 0])
    }
  })

  it('who takes a chunk now and then is cut in the end', async () => {
    const { response } = await ask(endless(true).handle, { readerTimeoutMs: 1_000, deliveryMsMax: 5_000 })
    const reader = readerOf(response)
    const begun = performance.now()
    await passing(
      (async () => {
        while ((await reader.read()).done === false) await wait(900)
      })(),
    )
    expect(performance.now() - begun).toBeLessThan(7_000)
  })

  it('who is slow holds the body back, and gets no missed chunks at once', async () => {
    const { state, handle } = endless(true)
    const { response } = await ask(handle)
    const reader = readerOf(response)
    await passing(reader.read())
    await passing(wait(10_000))
    expect(state.produced).toBeGreaterThan(262_144 - 8_192)
    expect(state.produced).toBeLessThan(262_144 + 8_192)
    const begun = performance.now()
    const times = await passing(
      (async () => {
        const at: number[] = []
        for (let i = 0; i < 4; i++) {
          await reader.read()
          at.push(performance.now() - begun)
        }
        return at
      })(),
    )
    expect(times.slice(1).map((at, i) => at - (times[i] ?? 0))).toEqual([TICK_MS, TICK_MS, TICK_MS])
    await reader.cancel()
  })

  it('is asked for the next chunk before trailers are made: until then it does not have the body', async () => {
    let hasTrailers = false
    const trailers = (): [] => {
      hasTrailers = true
      return []
    }
    const { response } = await ask(async () => ({ ...events(0), trailers }))
    const reader = readerOf(response)
    await passing(wait(500))
    await passing(reader.read())
    await passing(wait(500))
    expect(hasTrailers).toBe(false)
    await passing(reader.read())
    expect(hasTrailers).toBe(true)
    await reader.cancel()
  })
})
