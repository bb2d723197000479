import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { SseParser } from './sse.ts'

function parse(text: string, cut = text.length, eventCharsMax = 1_000_000): string[] {
  const bytes = encodeUtf8(text)
  const parser = new SseParser(eventCharsMax)
  const events: string[] = []
  for (let at = 0; at < bytes.length; at += cut) events.push(...parser.push(bytes.subarray(at, at + cut)))
  return events
}

describe('SseParser', () => {
  const text = ': comment\n\ndata: {"a":"é€😀"}\n\nevent: x\ndata:one\ndata: two\ndata\nid: 7\n\n\ndata:  spaced\n\n'
  const events = ['{"a":"é€😀"}', 'one\ntwo\n', ' spaced']

  it.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('reads lines that end in %s, cut into pieces of any length', (_, ending) => {
    const lines = text.replaceAll('\n', ending)
    for (let cut = 1; cut <= encodeUtf8(lines).length; cut++) expect(parse(lines, cut)).toEqual(events)
  })

  it('reads an event of more than 16 KiB that arrives in small pieces', () => {
    const long = JSON.stringify({ content: 'x'.repeat(100_000) })
    expect(parse(`data: ${long}\r\n\r\n`, 7)).toEqual([long])
  })

  it('does not return an event that no blank line closed', () => {
    expect(parse('data: one\n\ndata: two\n')).toEqual(['one'])
  })

  it('refuses an event over the bound, in one line or in several', () => {
    expect(parse(`data: ${'x'.repeat(94)}\n\n`, 10, 100)).toHaveLength(1)
    const tooLarge = expect.objectContaining({ name: 'SseError', code: 'EVENT_TOO_LARGE' })
    expect(() => parse(`data: ${'x'.repeat(95)}\n\n`, 10, 100)).toThrow(tooLarge)
    expect(() => parse('data: xxxxxxxxxx\n'.repeat(7), 10, 100)).toThrow(tooLarge)
  })

  it('takes any number of comments, for they are dropped', () => {
    expect(parse(`${': alive\n'.repeat(1000)}data: x\n\n`, 10, 100)).toEqual(['x'])
  })
})
