/** JSON from strangers: bounds before building. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { cpuMs } from '../../test/support/cpuTime.ts'
import { JSON_DEPTH_MAX, JSON_VALUES_MAX, parseJsonBody } from './jsonBody.ts'

const parse = (text: string) => parseJsonBody(encodeUtf8(text))
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
const refused = (message: RegExp) =>
  expect.objectContaining({
    name: 'BackendError',
    status: 400,
    code: 'INVALID_REQUEST',
    message: expect.stringMatching(message),
  })

describe('parseJsonBody', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value)
        expect(parse(text)).toEqual(JSON.parse(text))
      }),
      { seed: 20_261_121 },
    )
  })

  it('takes as many levels as allowed and refuses one more', () => {
    expect(parse(nested(JSON_DEPTH_MAX))).toEqual(JSON.parse(nested(JSON_DEPTH_MAX)))
    expect(() => parse(nested(JSON_DEPTH_MAX + 1))).toThrow(refused(/64 levels/))
    const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
    expect(() => parse(objects(JSON_DEPTH_MAX))).not.toThrow()
    expect(() => parse(objects(JSON_DEPTH_MAX + 1))).toThrow(refused(/64 levels/))
  })

  it('takes as many values as allowed and refuses one more', () => {
    const list = (count: number) => `[${Array(count).fill('0').join(',')}]`
    // The list is a value too, and so is its first entry's place.
    expect(parse(list(JSON_VALUES_MAX - 1))).toHaveLength(JSON_VALUES_MAX - 1)
    expect(() => parse(list(JSON_VALUES_MAX))).toThrow(refused(/1000000 values/))
  })

  it('counts no brackets and commas inside strings, however they are escaped', () => {
    const text = `${'[{,'.repeat(200)}`
    for (const string of [text, `${text}"`, `${text}\\`, `\\"${text}`, `"${text}\\\\"`, `é😀${text}`]) {
      expect(parse(JSON.stringify([string, string]))).toEqual([string, string])
    }
    expect(() => parse(`["\\\\", ${nested(JSON_DEPTH_MAX)}]`)).toThrow(refused(/levels/))
  })

  it.each(['', '{', '{"a":}', '"', '"\\', ']'.repeat(1_000), '[1,]', 'nul', '"\ud800"x', '[[['])(
    'refuses %j',
    (text) => {
      expect(() => parse(text)).toThrow(refused(/JSON in UTF-8/))
    },
  )

  it('refuses bytes that are no UTF-8, and quotes nothing of a body', () => {
    expect(() => parseJsonBody(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(refused(/JSON in UTF-8/))
    try {
      parse('{"secret": SECRET}')
    } catch (error) {
      expect(`${(error as Error).message} ${(error as Error).cause}`).not.toContain('SECRET')
    }
  })

  it('is done with sixteen megabytes of anything within a second of CPU', async () => {
    const size = 16 * 1024 * 1024
    for (const text of [
      '['.repeat(size),
      '"'.repeat(size),
      `"${'\\'.repeat(size)}`,
      `"${'\\"'.repeat(size / 2)}`,
      ','.repeat(size),
    ]) {
      const ms = await cpuMs(() => expect(() => parse(text)).toThrow(refused(/JSON/)))
      expect(ms).toBeLessThan(1_000)
    }
  })
})
