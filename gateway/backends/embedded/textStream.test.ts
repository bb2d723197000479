import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { TextStream } from './textStream.ts'

/** What goes out for each byte of `text`, and at the end. */
function pieces(text: string, stop: string[]): string[] {
  const stream = new TextStream(stop)
  const out = Array.from(encodeUtf8(text), (byte) => stream.push(Uint8Array.of(byte)))
  return [...out, stream.end()].filter((piece) => piece !== '')
}

describe('TextStream', () => {
  it('sends whole characters only, as soon as they are whole', () => {
    expect(pieces('aé€😀', [])).toEqual(['a', 'é', '€', '😀'])
  })

  it('replaces a character that was cut in two', () => {
    const stream = new TextStream([])
    expect(stream.push(Uint8Array.of(0x61, 0xf0, 0x9f))).toBe('a')
    expect(stream.end()).toBe('\ufffd')
  })

  it('sends nothing of a stop string, nor of what follows it', () => {
    const stream = new TextStream(['END'])
    expect(stream.push(encodeUtf8('one EN'))).toBe('one ')
    expect(stream.push(encodeUtf8('Dtwo'))).toBe('')
    expect(stream.isStopped).toBe(true)
    expect(stream.push(encodeUtf8('three'))).toBe('')
    expect(stream.end()).toBe('')
  })

  it('sends what only looked like a stop string', () => {
    expect(pieces('aab aac', ['aac']).join('')).toBe('aab ')
    expect(pieces('EEN', ['END']).join('')).toBe('EEN')
    expect(pieces('EEN', ['END'])).toEqual(['E', 'EN'])
  })

  it('stops at the first of several stop strings', () => {
    const stream = new TextStream(['xyz', 'b'])
    expect(stream.push(encodeUtf8('abxyz'))).toBe('a')
  })

  it('finds a stop string of several bytes to a character', () => {
    expect(pieces('Punkt。danach', ['。']).join('')).toBe('Punkt')
  })
})
