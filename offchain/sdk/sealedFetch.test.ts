/** One exchange from the client's side: through a real relay to a real gateway, and with relays and answers that fail. @module */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { decodeUtf8, encodeUtf8 } from '#protocol/bytes.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { PADDING_FIELD } from '#protocol/shape.ts'
import { NONCE_FIELD, parseReceiptFile } from '#protocol/wire/receiptFile.ts'
import { BackendError } from '../../gateway/backends/backendError.ts'
import { ask, CHAT_URL, codeOf, delta, ExchangeStage, stopped } from '../../test/support/exchangeStage.ts'
import { sayHello } from '../../test/support/gatewayStage.ts'
import { exchange, readInnerRequest, SEALED_ORIGIN } from './sealedFetch.ts'

let stage: ExchangeStage
beforeEach(async () => {
  stage = await ExchangeStage.start()
})
afterEach(() => stage.close())

describe('readInnerRequest', () => {
  test.each([
    'https://api.example.com/v1/chat/completions',
    'http://gateway.sealpath.invalid/v1/models',
    'https://gateway.sealpath.invalid:444/v1/models',
    'https://gateway.sealpath.invalid.example/v1',
    'https://gateway.sealpath.invalid@example.com/v1',
  ])('refuses %s', async (url) => {
    expect(await codeOf(readInnerRequest(url, undefined, 'private'))).toEqual(['NOT_OURS', undefined])
    expect(await codeOf(readInnerRequest(new URL(url), undefined, 'private'))).toEqual(['NOT_OURS', undefined])
  })

  test('refuses a request that is made already for another address', async () => {
    const request = new Request('https://api.example.com/v1/models')
    expect(await codeOf(readInnerRequest(request, undefined, 'private'))).toEqual(['NOT_OURS', undefined])
  })

  test('drops what an SDK says about its caller, and keeps what the target needs', async () => {
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json',
      authorization: 'Bearer secret',
      'user-agent': 'OpenAI/JS 1.2.3',
      cookie: 'a=b',
      'x-stainless-os': 'Linux',
      'openai-organization': 'org',
      [NONCE_FIELD]: '0x01',
    }
    const { inner } = await readInnerRequest(`${CHAT_URL}?a=b`, { method: 'POST', headers, body: 'x' }, 'private')
    expect(inner.headers.map(([name]) => name).sort()).toEqual(
      ['accept', 'content-type', 'date', NONCE_FIELD, PADDING_FIELD].sort(),
    )
    expect(JSON.stringify(inner.headers)).not.toMatch(/secret|OpenAI|Linux|org|a=b/)
    expect(inner).toMatchObject({
      method: 'POST',
      scheme: 'https',
      authority: 'gateway.sealpath.invalid',
      path: '/v1/chat/completions?a=b',
      body: encodeUtf8('x'),
    })
  })

  test('lets the caller choose the padding of one request', async () => {
    const paddingOf = async (init: RequestInit): Promise<(string | undefined)[]> => {
      const { inner } = await readInnerRequest(CHAT_URL, init, 'private')
      return inner.headers.filter(([name]) => name === PADDING_FIELD).map(([, value]) => value)
    }
    expect(await paddingOf({})).toEqual(['private'])
    expect(await paddingOf({ headers: { [PADDING_FIELD]: 'off' } })).toEqual(['off'])
  })

  test('takes the signal from wherever the caller put it', async () => {
    const { signal } = new AbortController()
    expect((await readInnerRequest(CHAT_URL, { signal }, 'private')).signal).toBe(signal)
    const { signal: ofRequest } = await readInnerRequest(new Request(CHAT_URL, { signal }), undefined, 'private')
    expect(ofRequest).toBeInstanceOf(AbortSignal)
  })
})

describe('a good exchange', () => {
  test.each([true, false])('gives the answer and a receipt that it opens itself, streamed: %s', async (stream) => {
    const network = await stage.network()
    const headers = { [NONCE_FIELD]: '0x0102' }
    const { response, receipt } = await ask(network, { stream }, { headers })
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(text).not.toMatch(/^:/m)
    const { file, leaf, feeAmount } = await receipt
    expect(verifyReceipt(file)).toMatchObject({ ok: true })
    expect(decodeUtf8(file.openings?.output.data ?? new Uint8Array())).toBe('Hello')
    expect(decodeUtf8(file.openings?.response.data ?? new Uint8Array())).toBe(text)
    expect(file.openings?.nonce.data).toEqual(Uint8Array.of(1, 2))
    expect(feeAmount).toBe(3_000_000_000_000n)
    expect(parseReceiptFile((await receipt).toJson())).toEqual(file)
    expect(network.steps.map(({ kind }) => kind)).toEqual(['request-sealed', 'answer-begun', 'receipt-verified'])
    expect(network.steps[0]).toMatchObject({ postQuantum: true })
    expect(network.steps[2]).toMatchObject({ leaf, feeUnits: 3n })
  })

  test('passes on events as they come', async () => {
    const step = Promise.withResolvers<void>()
    const network = await stage.network(async function* () {
      yield delta('first')
      await step.promise
      yield* sayHello()
    })
    const { response, receipt } = await ask(network)
    const reader = response.body?.getReader()
    expect(decodeUtf8((await reader?.read())?.value ?? new Uint8Array())).toContain('first')
    step.resolve()
    while ((await reader?.read())?.done === false);
    expect((await receipt).file.public.outcome).toBe('complete')
  })

  test('gives errors of the gateway as they are, without a receipt', async () => {
    const network = await stage.network()
    const { response, receipt } = await ask(network, { model: 'other' })
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      404,
      'model_not_found',
    ])
    expect(await codeOf(receipt)).toEqual(['RECEIPT_MISSING', undefined])
  })

  test('needs no receipt for what is not an answer', async () => {
    const network = await stage.network()
    const { inner } = await readInnerRequest(`${SEALED_ORIGIN}/v1/models`, undefined, 'balanced')
    const { response, receipt } = await exchange(network.access, network.gateway, inner, undefined)
    expect(await response.json()).toMatchObject({ data: [{ id: 'demo' }] })
    expect(await codeOf(receipt)).toEqual(['RECEIPT_MISSING', undefined])
  })
})

describe('an answer that breaks off', () => {
  test('is cut for the body and the receipt', async () => {
    const network = await stage.network(async function* () {
      yield delta('Hel')
      throw new BackendError(502, 'UPSTREAM_CUT', 'server_error', 'cut')
    })
    const { response, receipt } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['ANSWER_CUT', undefined])
    expect(await codeOf(receipt)).toEqual(['ANSWER_CUT', undefined])
  })

  test('before its head is cut', async () => {
    const route = await stage.relay((_request, response) => {
      response.writeHead(200, { 'content-type': 'message/ohttp-chunked-res' }).end()
    })
    expect(await codeOf(ask(route))).toEqual(['ANSWER_CUT', undefined])
  })

  test('or that does not open is cut', async () => {
    const route = await stage.relay((_request, response) => {
      response.writeHead(200, { 'content-type': 'message/ohttp-chunked-res' }).end(Buffer.alloc(5_000, 7))
    })
    expect(await codeOf(ask(route))).toEqual(['ANSWER_CUT', undefined])
  })
})

describe('a relay', () => {
  test('that is down has failed', async () => {
    expect(await codeOf(ask(await stage.noRelay()))).toEqual(['RELAY_FAILED', undefined])
  })

  test('that closed the connection just then is sent the same bytes once more', async () => {
    const network = await stage.network()
    const sent: unknown[] = []
    const fetchSecond: typeof fetch = (input, init) => {
      sent.push(init?.body)
      return sent.length === 1 ? Promise.reject(new TypeError('fetch failed')) : fetch(input, init)
    }
    const { response, receipt } = await ask(
      { ...network, access: { ...network.access, fetch: fetchSecond } },
      { stream: false },
    )
    expect(await response.text()).toContain('Hello')
    await receipt
    expect(sent).toHaveLength(2)
    expect(sent[1]).toBe(sent[0])
  })

  test('whose answer was lost has failed, and the enclave answered once', async () => {
    let answers = 0
    const network = await stage.network(() => {
      answers++
      return sayHello()
    })
    let isFirst = true
    const loseFirst: typeof fetch = async (input, init) => {
      const response = await fetch(input, init)
      if (!isFirst) return response
      isFirst = false
      await response.arrayBuffer()
      throw new TypeError('fetch failed')
    }
    const access = { ...network.access, fetch: loseFirst }
    expect(await codeOf(ask({ ...network, access }))).toEqual(['RELAY_FAILED', undefined])
    expect(answers).toBe(1)
  })

  test.each([
    [503, 'application/problem+json'],
    [502, 'text/html'],
    [200, 'text/html'],
    [200, 'message/ohttp-res'],
    [400, 'text/html'],
  ])('that answers %s with %s has failed', async (status, type) => {
    const route = await stage.relay((_request, response) => {
      response.writeHead(status, { 'content-type': type }).end('x')
    })
    expect(await codeOf(ask(route))).toEqual(['RELAY_FAILED', `HTTP_${status}`])
  })

  test('that does not answer in time has timed out', async () => {
    const { gateway, access } = await stage.relay(() => {})
    expect(await codeOf(ask({ gateway, access: { ...access, timeoutMs: 30 } }))).toEqual(['TIMED_OUT', undefined])
  })

  test('that answers but brings no head in time has timed out', async () => {
    const { gateway, access } = await stage.relay((_request, response) => {
      response.writeHead(200, { 'content-type': 'message/ohttp-chunked-res' }).flushHeaders()
    })
    expect(await codeOf(ask({ gateway, access: { ...access, timeoutMs: 30 } }))).toEqual(['TIMED_OUT', undefined])
  })

  test('that brings nothing but filler in time has timed out, and the model is stopped', async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<void>()
    const network = await stage.network(async function* (_request, signal) {
      signal.addEventListener('abort', () => resolve())
      await aborted
      throw stopped()
    })
    const access = { ...network.access, padding: 'private', timeoutMs: 2_000 } as const
    expect(await codeOf(ask({ ...network, access }))).toEqual(['TIMED_OUT', undefined])
    await aborted
  })

  test('in front of a gateway with other keys gets nothing opened', async () => {
    const network = await stage.network()
    const keyConfigs = network.gateway.keyConfigs.map((config) => ({ ...config, keyId: 77 }))
    const gateway = { ...network.gateway, keyConfigs }
    expect(await codeOf(ask({ ...network, gateway }))).toEqual(['REQUEST_NOT_OPENED', undefined])
  })
})
