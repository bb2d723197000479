/** Every resource is paid for: what it can cost is asked for before, what it did cost is captured after, and a bound or a slow reader changes neither. @module */
import { once } from 'node:events'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { costAtMost, PAID_PATHS, type PaidPath } from '#protocol/requestCost.ts'
import { CHANGE_TRAILER, formatSealed, PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import {
  type Ask,
  chat,
  DEMO_PRICE,
  delta,
  endless,
  expectVerified,
  finish,
  outer,
  seal,
  send,
  startGateway,
  USAGE,
} from '../test/support/sealedTarget.ts'
import { until } from '../test/support/until.ts'
import type { AnswerEvent, Backend } from './backends/backend.ts'
import { BackendError } from './backends/backendError.ts'
import type { IssuerClient } from './issuerClient.ts'
import { createPayments } from './payment.ts'

const MAXIMUM_FEE = 1_000n
const SILENT = { info: () => {}, warn: () => {}, error: () => {} }

let captures: bigint[]
let reserves: number
let issuer: IssuerClient
beforeEach(() => {
  captures = []
  reserves = 0
  issuer = {
    enclave: `0x${'15'.repeat(20)}`,
    async reserve() {
      reserves++
      return { payment: `0x${'9a'.repeat(32)}` as Hex, maximumFee: MAXIMUM_FEE, expiresAt: 0n }
    },
    renew: async () => ({ expiresAt: 0n }),
    async capture(_, fee) {
      captures.push(fee)
      return { fee, sealedChange: Uint8Array.of(7) }
    },
  }
})

const BODIES: Readonly<Record<PaidPath, Record<string, unknown>>> = {
  '/v1/chat/completions': chat({ max_tokens: 30 }),
  '/v1/completions': { model: 'demo', prompt: 'x', max_tokens: 30 },
  '/v1/embeddings': { model: 'demo', input: ['x', 'y'] },
}

/** Everything at once: two pieces of text, or two vectors. */
const backend: Backend = {
  models: [],
  async *chat() {
    yield* [delta('a'), delta('b'), finish('stop'), USAGE]
  },
  async *completions() {
    for (const text of ['a', 'b']) yield pieceOf(text)
    const raw = { index: 0, text: '', finish_reason: 'stop' }
    yield* [{ kind: 'finish', choice: 0, reason: 'stop', raw } as const, USAGE]
  },
  async *embeddings() {
    for (const index of [0, 1]) yield { kind: 'embedding', index, values: [1] }
    yield { kind: 'usage', promptTokens: 7, completionTokens: 0, reported: true }
  },
}

function pieceOf(text: string): AnswerEvent {
  return { kind: 'delta', choice: 0, content: text, raw: { index: 0, text, finish_reason: null } }
}

function paid(path: PaidPath, fields: Record<string, unknown> = {}): Ask {
  const headers = [[PAYMENT_FIELD, formatSealed(Uint8Array.of(1))]] as const
  return { path, body: { ...BODIES[path], ...fields }, headers }
}

describe.each(PAID_PATHS)('%s', (path) => {
  test('says what it can cost at most when nothing is paid', async () => {
    const gateway = startGateway(backend, { payments: createPayments(issuer, SILENT) })
    const { status, text } = await send(gateway, { path, body: BODIES[path] })
    const atMost = costAtMost(DEMO_PRICE, path, encodeUtf8(JSON.stringify(BODIES[path])), 128)
    expect(status).toBe(402)
    expect(JSON.parse(text).error).toMatchObject({ code: 'payment_required', maximum_fee_units: atMost.toString() })
    expect([reserves, gateway.target.openAnswers]).toEqual([0, 0])
  })

  test('captures what was used, and brings change and receipt', async () => {
    const gateway = startGateway(backend, { payments: createPayments(issuer, SILENT) })
    const ask = paid(path)
    const answer = await send(gateway, ask)
    const receipt = await expectVerified(answer, ask)
    const fee = path === '/v1/embeddings' ? 1n : 21n
    expect([receipt.private.fee, captures]).toEqual([fee, [fee]])
    expect(answer.trailers.some(([name]) => name === CHANGE_TRAILER)).toBe(true)
  })

  test('gives everything back when the model fails', async () => {
    const failing = async function* (): AsyncGenerator<AnswerEvent> {
      yield* []
      throw new BackendError(502, 'UPSTREAM_CUT', 'server_error', 'it broke')
    }
    const broken: Backend = { models: [], chat: failing, completions: failing, embeddings: failing }
    const gateway = startGateway(broken, { payments: createPayments(issuer, SILENT) })
    expect((await send(gateway, paid(path))).status).toBe(502)
    expect([captures, gateway.log.size, gateway.target.openAnswers]).toEqual([[0n], 0, 0])
  })

  test('reserves nothing for a request that is refused', async () => {
    const gateway = startGateway(backend, { payments: createPayments(issuer, SILENT), serves: ['chat'] })
    const { status } = await send(gateway, paid(path, { model: path === '/v1/chat/completions' ? 'none' : 'demo' }))
    expect([status, reserves]).toEqual([path === '/v1/chat/completions' ? 404 : 400, 0])
  })
})

describe('what was produced is paid for', () => {
  const stuck = async function* (_: unknown, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    yield* [delta('a'), delta('b')]
    if (!signal.aborted) await once(signal, 'abort')
    throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
  }

  test.each([true, false])('when the time is over, streamed: %s', async (stream) => {
    const gateway = startGateway(stuck, {
      payments: createPayments(issuer, SILENT),
      limits: { answerSecondsMax: 0.5 },
    })
    const ask = paid('/v1/chat/completions', { stream })
    const receipt = await expectVerified(await send(gateway, ask), ask)
    expect([receipt.public.outcome, receipt.private.fee, captures]).toEqual(['cut', 3n, [3n]])
  })

  test('by a reader who takes nothing, with no more than was allowed', async () => {
    const gateway = startGateway(endless, {
      payments: createPayments(issuer, SILENT),
      limits: { readerTimeoutSeconds: 0.5 },
    })
    const reader = (
      await gateway.sealed(outer(await seal(paid('/v1/chat/completions', { stream: true }))))
    ).body?.getReader()
    await reader?.read()
    await until(() => captures.length === 1 && gateway.target.openAnswers === 0)
    expect(captures[0]).toBe(gateway.issued[0]?.private.fee)
    expect(captures[0]).toBeGreaterThan(1n)
    expect(captures[0]).toBeLessThanOrEqual(MAXIMUM_FEE)
  })

  test('and nothing when nothing was', async () => {
    const silent = async function* (_: unknown, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
      yield {
        kind: 'delta',
        choice: 0,
        content: '',
        raw: { index: 0, delta: { role: 'assistant' }, finish_reason: null },
      }
      yield* stuckSilently(signal)
    }
    const gateway = startGateway(silent, {
      payments: createPayments(issuer, SILENT),
      limits: { answerSecondsMax: 0.5 },
    })
    expect((await send(gateway, paid('/v1/chat/completions'))).status).toBe(504)
    await expect(send(gateway, paid('/v1/chat/completions', { stream: true }))).rejects.toMatchObject({
      code: 'TRUNCATED',
    })
    await until(() => captures.length === 2)
    expect([captures, gateway.log.size, gateway.target.openAnswers]).toEqual([[0n, 0n], 0, 0])
  })
})

async function* stuckSilently(signal: AbortSignal): AsyncGenerator<AnswerEvent> {
  yield* []
  if (!signal.aborted) await once(signal, 'abort')
  throw new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled')
}
