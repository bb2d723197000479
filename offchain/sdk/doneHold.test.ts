/** The end of an event stream is kept, and nothing else. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeUtf8, encodeUtf8, joinBytes } from '#protocol/bytes.ts'
import { DoneHold } from './doneHold.ts'

/** What goes on, and what is kept, of a stream that comes in pieces of so many bytes. */
function pass(text: string, pieceBytes: number): readonly [string, string] {
  const hold = new DoneHold()
  const bytes = encodeUtf8(text)
  const passed: Uint8Array[] = []
  for (let i = 0; i < bytes.length; i += pieceBytes) passed.push(hold.push(bytes.subarray(i, i + pieceBytes)).slice())
  return [decodeUtf8(joinBytes(passed)), decodeUtf8(hold.rest())]
}

describe('the end of an event stream', () => {
  const events = 'data: {"a":1}\n\ndata: {"b":"data: [DONE]"}\n\n'

  it.each([1, 2, 3, 5, 7, 11, 12, 13, 64, 4_094])('is kept, in pieces of %s bytes', (pieceBytes) => {
    expect(pass(`${events}data: [DONE]\n\n`, pieceBytes)).toEqual([events, 'data: [DONE]\n\n'])
  })

  it.each([1, 3, 64])('is kept with all that follows, in pieces of %s bytes', (pieceBytes) => {
    expect(pass('data: [DONE]\n\ndata: more\n\n', pieceBytes)).toEqual(['', 'data: [DONE]\n\ndata: more\n\n'])
  })

  it('is not amid a line, and not almost the same', () => {
    for (const text of ['data: [DONE', 'data: [DON]\n', 'xdata: [DONE]\n', ' data: [DONE]\n', 'data: [done]\n']) {
      for (const pieceBytes of [1, 5, 100]) expect(pass(text, pieceBytes).join('')).toBe(text)
      expect(pass(`${text}\n`, 4)[1]).toBe('')
    }
  })

  it('loses, adds and moves nothing, whatever comes in whatever pieces', () => {
    const line = fc.oneof(
      fc.constantFrom('data: [DONE]', 'data: [DO', 'data: {}', '', ': x', 'data: [DONE]]'),
      fc.string(),
    )
    fc.assert(
      fc.property(fc.array(line), fc.integer({ min: 1, max: 40 }), (lines, pieceBytes) => {
        const text = lines.map((one) => `${one}\n`).join('')
        const [passed, kept] = pass(text, pieceBytes)
        expect(passed + kept).toBe(text)
        expect(kept === '' || kept.startsWith('data: [DONE]')).toBe(true)
        expect(passed).not.toMatch(/^data: \[DONE\]/m)
      }),
      { seed: 7, numRuns: 500 },
    )
  })
})
