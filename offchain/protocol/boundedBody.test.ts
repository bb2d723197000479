import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { readBody, readBodyText } from './boundedBody.ts'

const MAX = 10

/** A peer that never stops; `cancelled` once it is told to. */
function endless(): { body: ReadableStream<Uint8Array>; isCancelled: () => boolean; given: () => number } {
  let cancelled = false
  let given = 0
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        given++
        controller.enqueue(Uint8Array.of(1, 2, 3))
      },
      cancel: () => {
        cancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  return { body, isCancelled: () => cancelled, given: () => given }
}

describe('readBody', () => {
  test.each([
    ['a body of fetch', (bytes: Uint8Array<ArrayBuffer>) => new Response(bytes).body],
    ['a stream of Node', (bytes: Uint8Array<ArrayBuffer>) => Readable.from([bytes.slice(0, 4), bytes.slice(4)])],
  ])('takes %s at its bound and refuses it one byte past', async (_name, bodyOf) => {
    expect(await readBody(bodyOf(new Uint8Array(MAX).fill(7)), MAX)).toEqual(new Uint8Array(MAX).fill(7))
    await expect(readBody(bodyOf(new Uint8Array(MAX + 1)), MAX)).rejects.toThrow(RangeError)
  })

  test('asks a peer that never stops for no more than passes the bound, and lets go of it', async () => {
    const peer = endless()
    await expect(readBody(peer.body, MAX)).rejects.toThrow('at most 10 bytes')
    expect(peer.given()).toBe(4)
    expect(peer.isCancelled()).toBe(true)
  })

  test('takes no body as an empty one', async () => {
    expect(await readBody(null, MAX)).toEqual(new Uint8Array())
  })

  test('passes on what breaks a body', async () => {
    const broken = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error('reset')) })
    await expect(readBody(broken, MAX)).rejects.toThrow('reset')
  })

  test('reads text across parts, with what is no UTF-8 replaced', async () => {
    const bytes = Uint8Array.from([0xc3, 0xbc, 0xff])
    const parts = Readable.from([bytes.slice(0, 1), bytes.slice(1)])
    expect(await readBodyText(parts, MAX)).toBe('ü\ufffd')
  })
})
