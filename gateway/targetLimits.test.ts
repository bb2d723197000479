/** What a gateway takes at most: each bound at itself and one past it. @module */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { FillerStripper, PADDING_MODES } from '#protocol/shape.ts'
import {
  type Ask,
  chat,
  delta,
  endless,
  expectVerified,
  finish,
  hello,
  outer,
  type Script,
  type SealedTestAnswer,
  seal,
  send,
  startGateway,
  type TestGateway,
  USAGE,
} from '../test/support/sealedTarget.ts'
import { until } from '../test/support/until.ts'
import type { Backend } from './backends/backend.ts'
import { BackendError } from './backends/backendError.ts'

const STREAM = { body: chat({ stream: true }) }

/** Says these, and then nothing until it is stopped. */
function stuckAfter(...texts: string[]): Script {
  return async function* (_request, signal) {
    for (const text of texts) yield delta(text)
    if (!signal.aborted) await once(signal, 'abort')
    throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
  }
}

/** Says 'a' so many times, and ends by itself. */
function says(count: number): Script {
  return async function* () {
    for (let i = 0; i < count; i++) yield delta('a')
    yield finish('stop')
    yield { kind: 'usage', promptTokens: 7, completionTokens: count, reported: true }
  }
}

function codeOf({ status, text }: SealedTestAnswer): unknown[] {
  const { code, param } = JSON.parse(text).error
  return [status, code, param]
}

describe('the time of an answer', () => {
  test.each(PADDING_MODES)('over, finishes the stream; its receipt says cut: %s', async (padding) => {
    const gateway = startGateway(stuckAfter('Hel', 'lo'), { limits: { answerSecondsMax: 0.05 } })
    const body = chat({ stream: true, stream_options: { include_usage: true } })
    const answer = await send(gateway, { body, padding })
    const events = answer.text.split('\n\n').filter((event) => event !== '')
    expect(events).toHaveLength(5)
    expect(JSON.parse(events[2]?.slice(6) ?? '')).toMatchObject({ choices: [{ delta: {}, finish_reason: 'length' }] })
    expect(JSON.parse(events[3]?.slice(6) ?? '')).toMatchObject({ usage: { prompt_tokens: 0, completion_tokens: 2 } })
    expect(events[4]).toBe('data: [DONE]')
    const receipt = await expectVerified(answer, { body })
    expect(receipt.public.outcome).toBe('cut')
    expect(receipt.private).toMatchObject({ promptTokens: 0n, completionTokens: 2n, fee: 3n })
    expect([gateway.model.ended, gateway.target.openAnswers, gateway.faults]).toEqual([1, 0, []])
  })

  test('over, finishes a whole answer with what there is', async () => {
    const gateway = startGateway(stuckAfter('Hel', 'lo'), { limits: { answerSecondsMax: 0.05 } })
    const answer = await send(gateway, { body: chat() })
    const [choice] = JSON.parse(answer.text).choices
    expect(choice).toMatchObject({ message: { content: 'Hello' }, finish_reason: 'length' })
    expect((await expectVerified(answer, { body: chat() })).public.outcome).toBe('cut')
    expect([gateway.model.ended, gateway.target.openAnswers]).toEqual([1, 0])
  })

  test.each([true, false])(
    'over before anything was said, is an error that costs nothing, streamed: %s',
    async (stream) => {
      const gateway = startGateway(stuckAfter(), { limits: { answerSecondsMax: 0.05 } })
      expect(codeOf(await send(gateway, { body: chat({ stream }) }))).toEqual([504, 'timed_out', null])
      expect([gateway.log.size, gateway.target.openAnswers, gateway.model.ended]).toEqual([0, 0, 1])
    },
  )

  test('is not over before it is', async () => {
    const gateway = startGateway(hello, { limits: { answerSecondsMax: 10 } })
    expect((await expectVerified(await send(gateway, STREAM), STREAM)).public.outcome).toBe('complete')
  })
})

describe('the tokens of a request', () => {
  const limits = { completionTokensMax: 3 }

  test.each(['max_tokens', 'max_completion_tokens'])('may be asked for up to the bound by %s', async (field) => {
    const gateway = startGateway(says(3), { limits })
    expect((await send(gateway, { body: chat({ [field]: 3 }) })).status).toBe(200)
    expect(codeOf(await send(gateway, { body: chat({ [field]: 4 }) }))).toEqual([400, 'invalid_request', field])
    expect(gateway.model.begun).toBe(1)
  })

  test.each([true, false])('end at the bound where nothing was asked for, streamed: %s', async (stream) => {
    const within = { body: chat({ stream }) }
    const at = startGateway(says(3), { limits })
    const complete = await expectVerified(await send(at, within), within)
    expect([complete.public.outcome, complete.private.fee]).toEqual(['complete', 4n])

    const beyond = startGateway(says(4), { limits })
    const answer = await send(beyond, within)
    const cut = await expectVerified(answer, within)
    expect([cut.public.outcome, cut.private.fee, cut.private.promptTokens]).toEqual(['length', 4n, 0n])
    expect(answer.text).toContain('"finish_reason":"length"')
    expect([beyond.model.ended, beyond.target.openAnswers]).toEqual([1, 0])
  })

  test('are counted for each choice', async () => {
    const two: Script = async function* () {
      for (let i = 0; i < 4; i++) for (const choice of [0, 1]) yield delta('a', choice)
      throw new Error('expected to be stopped')
    }
    const ask = { body: chat({ n: 2 }) }
    const answer = await send(startGateway(two, { limits }), ask)
    const { choices } = JSON.parse(answer.text)
    expect(choices).toMatchObject([
      { message: { content: 'aaa' }, finish_reason: 'length' },
      { message: { content: 'aaa' }, finish_reason: 'length' },
    ])
    expect((await expectVerified(answer, ask)).private.completionTokens).toBe(6n)
  })
})

describe('the answers at once', () => {
  test('of one backend are bounded, and its place is free when the model is done, however slow the reader', async () => {
    const gateway = startGateway(hello, { modelAnswersMax: 1, limits: { answersMax: 3 } })
    const gate = Promise.withResolvers<void>()
    const waiting = startGateway(
      async function* () {
        yield delta('a')
        await gate.promise
        yield finish('stop')
        yield USAGE
      },
      { modelAnswersMax: 1, limits: { answersMax: 3 } },
    )
    const first = send(waiting, { body: chat() })
    await until(() => waiting.target.openAnswers === 1)
    expect(codeOf(await send(waiting, { body: chat() }))).toEqual([503, 'overloaded', null])
    gate.resolve()
    expect((await first).status).toBe(200)
    expect((await send(waiting, { body: chat() })).status).toBe(200)

    // A stream that is shaped is produced ahead of its reader.
    const unread = await gateway.sealed(outer(await seal({ ...STREAM, padding: 'private' })))
    await unread.body?.getReader().read()
    await until(() => gateway.model.ended === 1)
    expect(gateway.target.openAnswers).toBe(1)
    expect((await send(gateway, { body: chat() })).status).toBe(200)
  })

  test('give a place back when the model refuses', async () => {
    // biome-ignore lint/correctness/useYield: a refusal comes before the first event.
    const refusing: Script = async function* () {
      throw new BackendError(429, 'RATE_LIMITED', 'rate_limit_error', 'come back later')
    }
    const gateway = startGateway(refusing, { modelAnswersMax: 1 })
    for (let i = 0; i < 3; i++) expect((await send(gateway, STREAM)).status).toBe(429)
  })
})

describe('the bytes of an answer', () => {
  /** Bytes of what is counted: the events of the pieces, up to the last one. */
  async function countedBytes(stream: boolean): Promise<number> {
    if (!stream) return ['Hel', 'lo'].reduce((sum, text) => sum + JSON.stringify(rawOf(text)).length, 0)
    const { text } = await send(startGateway(hello), STREAM)
    return text.split('\n\n').slice(0, 2).join('\n\n').length + 2
  }
  const rawOf = (content: string) => ({ index: 0, delta: { content }, finish_reason: null })

  test.each([true, false])('are bounded, and the last piece that fits is the last, streamed: %s', async (stream) => {
    const answerBytesMax = await countedBytes(stream)
    const ask = { body: chat({ stream }) }
    const whole = await send(startGateway(hello, { limits: { answerBytesMax } }), ask)
    expect((await expectVerified(whole, ask)).public.outcome).toBe('complete')

    const gateway = startGateway(hello, { limits: { answerBytesMax: answerBytesMax - 1 } })
    const answer = await send(gateway, ask)
    const receipt = await expectVerified(answer, ask)
    expect([receipt.public.outcome, receipt.private.completionTokens, receipt.private.fee]).toEqual(['cut', 1n, 2n])
    expect(answer.text).toContain('"finish_reason":"length"')
    expect(answer.text).not.toContain('"lo"')
    expect([gateway.model.ended, gateway.target.openAnswers]).toEqual([1, 0])
  })

  test('of embeddings are bounded by a refusal, for half of them are of no use', async () => {
    const backend: Backend = {
      models: [],
      async *embeddings({ inputs }) {
        for (const [index] of inputs.entries()) yield { kind: 'embedding', index, values: [1, 2] }
        yield { kind: 'usage', promptTokens: 2, completionTokens: 0, reported: true }
      },
    }
    const ask = { path: '/v1/embeddings', body: { model: 'demo', input: ['a', 'b'] } }
    const bytes = 2 * '[1,2]'.length
    const fits = startGateway(backend, { limits: { answerBytesMax: bytes } })
    await expectVerified(await send(fits, ask), ask)
    const gateway = startGateway(backend, { limits: { answerBytesMax: bytes - 1 } })
    expect(codeOf(await send(gateway, ask))).toEqual([400, 'answer_too_large', null])
    expect([gateway.log.size, gateway.target.openAnswers]).toEqual([0, 0])
  })
})

describe('the number', () => {
  const completion = (fields: Record<string, unknown>) => ({
    path: '/v1/completions',
    body: { model: 'demo', ...fields },
  })
  const embeddings = (input: unknown) => ({ path: '/v1/embeddings', body: { model: 'demo', input } })
  const limits = { choicesMax: 4, inputsMax: 3 }
  const cases: [string, Ask, Ask, string][] = [
    ['of choices', { body: chat({ n: 4 }) }, { body: chat({ n: 5 }) }, 'n'],
    [
      'of choices of all prompts',
      completion({ prompt: ['a', 'b'], n: 2 }),
      completion({ prompt: ['a', 'b'], n: 3 }),
      'n',
    ],
    ['of candidates', completion({ prompt: 'a', best_of: 4 }), completion({ prompt: 'a', best_of: 5 }), 'best_of'],
    ['of prompts', completion({ prompt: ['a', 'b', 'c'] }), completion({ prompt: ['a', 'b', 'c', 'd'] }), 'prompt'],
    ['of inputs', embeddings(['a', 'b', 'c']), embeddings(['a', 'b', 'c', 'd']), 'input'],
  ]

  test.each(cases)('%s is bounded', async (_, at, beyond, param) => {
    // A backend that refuses whatever gets as far as it.
    const reached = async function* () {
      yield* []
      throw new BackendError(502, 'UPSTREAM_REFUSED', 'server_error', 'reached')
    }
    const gateway = startGateway({ models: [], chat: reached, completions: reached, embeddings: reached }, { limits })
    expect((await send(gateway, at)).status).toBe(502)
    expect(codeOf(await send(gateway, beyond))).toEqual([400, 'invalid_request', param])
  })
})

describe('a slow reader', () => {
  /** Charged as one who left: what was produced, with a receipt that only the log has. */
  async function expectCut(gateway: TestGateway): Promise<void> {
    await until(() => gateway.target.openAnswers === 0)
    expect(gateway.issued.map(({ public: { outcome } }) => outcome)).toEqual(['cut'])
    const [receipt] = gateway.issued
    expect(receipt?.private.completionTokens).toBeGreaterThan(0n)
    expect(receipt?.private.fee).toBeGreaterThan(1n)
    expect([gateway.model.ended, gateway.log.size]).toEqual([1, 1])
  }

  test.each(PADDING_MODES)('who takes nothing loses the place and pays for what there was: %s', async (padding) => {
    const gateway = startGateway(endless, { limits: { readerTimeoutSeconds: 0.5 } })
    const sealed = await seal({ ...STREAM, padding })
    const reader = (await gateway.sealed(outer(sealed))).body?.getReader()
    await reader?.read()
    await reader?.read()
    await expectCut(gateway)
    // Coming back late shows that the answer was cut: its final chunk is missing.
    const opener = sealed.openResponse()
    let next = await reader?.read()
    while (next?.done === false) next = await reader?.read()
    await expect(opener.end()).rejects.toMatchObject({ code: expect.any(String) })
    await expectCut(gateway)
  })

  test.each(PADDING_MODES)('who never begins loses the place: %s', async (padding) => {
    const gateway = startGateway(endless, { limits: { readerTimeoutSeconds: 0.5 } })
    await gateway.sealed(outer(await seal({ ...STREAM, padding })))
    expect(gateway.target.openAnswers).toBe(1)
    await until(() => gateway.target.openAnswers === 0)
    expect(gateway.model.ended).toBe(1)
  })

  test('of a whole answer keeps its place, and loses it when taking nothing of it', async () => {
    const limits = { readerTimeoutSeconds: 2, answersMax: 1 }
    const gateway = startGateway(says(4_000), { limits })
    const ask = { body: chat(), padding: 'private' } as const
    const unread = await gateway.sealed(outer(await seal(ask)))
    await unread.body?.getReader().read()
    await until(() => gateway.issued.length === 1)
    expect(codeOf(await send(gateway, ask))).toEqual([503, 'overloaded', null])
    await until(() => gateway.target.openAnswers === 0)
    expect((await send(gateway, { ...ask, body: chat({ max_tokens: 1 }) })).status).toBe(200)
    expect(gateway.target.openAnswers).toBe(0)
  })

  test('who takes something in time is not cut', async () => {
    const gateway = startGateway(hello, { limits: { readerTimeoutSeconds: 1.5 } })
    const sealed = await seal({ ...STREAM, padding: 'off' })
    const reader = (await gateway.sealed(outer(sealed))).body?.getReader()
    const opener = sealed.openResponse()
    const stripper = new FillerStripper()
    let bytes = 0
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
      for (const event of await opener.push(next.value))
        if (event.type === 'body') bytes += stripper.push(event.bytes).length
      await sleep(400)
    }
    await opener.end()
    expect(bytes).toBeGreaterThan(100)
    expect(gateway.issued.map(({ public: { outcome } }) => outcome)).toEqual(['complete'])
  })

  test('who takes a little now and then is cut in the end', async () => {
    const gateway = startGateway(endless, { limits: { answerSecondsMax: 0.2, readerTimeoutSeconds: 0.2 } })
    const reader = (await gateway.sealed(outer(await seal({ ...STREAM, padding: 'off' })))).body?.getReader()
    let pieces = 0
    for (; (await reader?.read())?.done === false; pieces++) await sleep(150)
    // Its time, 200 ms, is over after the second pause; the rest is what was on its way.
    expect(pieces).toBeLessThan(20)
    await until(() => gateway.target.openAnswers === 0)
    expect(gateway.log.size).toBe(1)
  })

  test('does not have the model work far ahead', async () => {
    let said = 0
    const eager: Script = async function* () {
      for (;;) {
        said++
        yield delta('x'.repeat(10_000))
      }
    }
    const gateway = startGateway(eager, { limits: { readerTimeoutSeconds: 0.2 } })
    const reader = (await gateway.sealed(outer(await seal({ ...STREAM, padding: 'private' })))).body?.getReader()
    await reader?.read()
    await sleep(100)
    expect(said * 10_000).toBeLessThan(400_000)
    await until(() => gateway.target.openAnswers === 0)
  })
})
