/** Filler of every length, read by our own decoder. @module */
import { expect, it } from 'vitest'
import { concatBytes } from '../bytes.ts'
import { fillerComment } from '../shape.ts'
import { encodeEnd, encodeResponseHead } from './binaryHttp.ts'
import { BinaryHttpDecoder, type BinaryHttpEvent } from './binaryHttpDecoder.ts'
import { contentFiller, FILLER_STATUS, informationalFiller } from './filler.ts'

const HEAD = { status: 200, headers: [['content-type', 'text/event-stream']] } as const

function decode(message: Uint8Array): BinaryHttpEvent[] {
  const decoder = new BinaryHttpDecoder('response')
  return [...decoder.push(message), ...decoder.end()]
}

it.each([76, 77, 4_095, 4_096, 16_395])('makes an informational response of %s bytes', (lengthBytes) => {
  const filler = informationalFiller(lengthBytes)
  expect(filler).toHaveLength(lengthBytes)
  const head = encodeResponseHead(HEAD).subarray(1)
  const events = decode(concatBytes(Uint8Array.of(3), filler, filler, head, encodeEnd()))
  const informational = { type: 'informational', status: FILLER_STATUS }
  expect(events).toMatchObject([informational, informational, { type: 'response', ...HEAD }, { type: 'trailers' }])
})

it.each([0, 75, 16_396])('makes no informational response of %s bytes', (lengthBytes) => {
  expect(() => informationalFiller(lengthBytes)).toThrow(RangeError)
})

it('makes a content chunk of every length, or of the next that there is', () => {
  for (let lengthBytes = 1; lengthBytes <= 4_096; lengthBytes++) {
    const filler = contentFiller(lengthBytes, fillerComment)
    const over = lengthBytes === 1 ? 2 : lengthBytes === 2 || lengthBytes === 65 ? 1 : 0
    expect(filler.length - lengthBytes).toBe(over)
    const [, content, trailers] = decode(concatBytes(encodeResponseHead(HEAD), filler, encodeEnd()))
    expect(content).toMatchObject({ type: 'content' })
    expect(trailers).toMatchObject({ type: 'trailers' })
  }
})
