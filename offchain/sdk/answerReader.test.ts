/** Callers that leave, and answers that stop: who waits for what, how long, and that the gateway notices. @module */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  ask,
  type Chat,
  changingReceipt,
  codeOf,
  delta,
  ExchangeStage,
  sayEndlessly,
  stopped,
} from '../../test/support/exchangeStage.ts'
import { sayHello } from '../../test/support/gatewayStage.ts'

let stage: ExchangeStage
beforeEach(async () => {
  stage = await ExchangeStage.start()
})
afterEach(() => stage.close())

describe('an answer that stops', () => {
  /** Says one word, and then nothing until it is told to go on. */
  function oneWord(): { chat: Chat; goOn: () => void } {
    const rest = Promise.withResolvers<void>()
    const chat = async function* (_request: unknown, signal: AbortSignal) {
      yield delta('Hel')
      await Promise.race([rest.promise, once(signal, 'abort')])
      if (signal.aborted) throw stopped()
      yield* sayHello()
    }
    return { chat, goOn: rest.resolve }
  }

  test('for longer than allowed has timed out, and the gateway sees the client leave', async () => {
    const network = await stage.network(oneWord().chat)
    const { response, receipt } = await ask({ ...network, access: { ...network.access, idleTimeoutMs: 500 } })
    expect(await codeOf(response.text())).toEqual(['TIMED_OUT', undefined])
    expect(await codeOf(receipt)).toEqual(['TIMED_OUT', undefined])
    while (network.staged.openAnswers > 0) await sleep(1)
    expect(network.staged.log.size).toBe(1)
  })

  test('for less than that goes on, however long it takes to begin or to be read', async () => {
    const { chat, goOn } = oneWord()
    const network = await stage.network(chat)
    const { response, receipt } = await ask({ ...network, access: { ...network.access, idleTimeoutMs: 2_000 } })
    const reader = response.body?.getReader()
    await reader?.read()
    // Nobody waits for the next piece here: no time runs.
    await sleep(2_200)
    goOn()
    while ((await reader?.read())?.done === false);
    expect((await receipt).file.public.outcome).toBe('complete')
  })

  test('never does in private mode, where cells come even when words do not', async () => {
    const { chat, goOn } = oneWord()
    const network = await stage.network(chat)
    const access = { ...network.access, padding: 'private', idleTimeoutMs: 2_000 } as const
    const { response, receipt } = await ask({ ...network, access })
    setTimeout(goOn, 3_000)
    await response.text()
    expect((await receipt).file.public.outcome).toBe('complete')
  })
})

describe('a caller', () => {
  test('that aborted before gets its reason, and nothing is sent', async () => {
    const network = await stage.network()
    const reason = new Error('mine')
    await expect(ask(network, {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(network.staged.log.size).toBe(0)
  })

  test('that aborts while it waits gets its reason', async () => {
    const begun = Promise.withResolvers<void>()
    // biome-ignore lint/correctness/useYield: it never gets to its first event.
    const network = await stage.network(async function* (_request, signal) {
      begun.resolve()
      await once(signal, 'abort')
      throw stopped()
    })
    const abort = new AbortController()
    const reason = new Error('mine')
    const asked = ask(network, {}, { signal: abort.signal })
    await begun.promise
    abort.abort(reason)
    await expect(asked).rejects.toBe(reason)
  })

  test('that aborts mid-answer gets its reason from the body, and the gateway stops', async () => {
    const network = await stage.network(sayEndlessly)
    const abort = new AbortController()
    const { response, receipt } = await ask(network, {}, { signal: abort.signal })
    const reader = response.body?.getReader()
    await reader?.read()
    abort.abort()
    const failed = (async () => {
      while (!(await reader?.read())?.done);
    })()
    await expect(failed).rejects.toMatchObject({ name: 'AbortError' })
    await expect(receipt).rejects.toMatchObject({ name: 'AbortError' })
    while (network.staged.openAnswers > 0) await sleep(1)
    expect(network.staged.log.size).toBe(1)
  })

  test('that stops reading frees everything, and its receipt says that the answer was not read', async () => {
    const network = await stage.network(sayEndlessly)
    const { response, receipt } = await ask(network)
    const reader = response.body?.getReader()
    await reader?.read()
    const pending = reader?.read()
    await reader?.cancel()
    await pending
    expect(await codeOf(receipt)).toEqual(['ANSWER_CUT', undefined])
    while (network.staged.openAnswers > 0) await sleep(1)
  })

  test('that never asks for the receipt has nothing to handle', async () => {
    const network = await stage.network(
      sayHello,
      changingReceipt(() => null),
    )
    const { response } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'MALFORMED'])
  })

  test('is not kept waiting by a timer after a failure', async () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const { gateway, access } = await stage.noRelay()
    await codeOf(ask({ gateway, access: { ...access, timeoutMs: 600_000 } }))
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBeLessThanOrEqual(before)
  })
})
