import { expect, it } from 'vitest'
import { checkMediaType, mediaTypeOf, OHTTP_CHUNKED_RESPONSE, OHTTP_RESPONSE } from './mediaTypes.ts'

it('compares types without case and parameters', () => {
  expect(mediaTypeOf(' Message/OHTTP-res ; x=y')).toBe(OHTTP_RESPONSE)
  expect(mediaTypeOf(null)).toBe('')
  expect(() => checkMediaType('message/ohttp-res', OHTTP_RESPONSE)).not.toThrow()
})

it('never takes the one response format for the other', () => {
  for (const [type, expected] of [
    [OHTTP_RESPONSE, OHTTP_CHUNKED_RESPONSE],
    [OHTTP_CHUNKED_RESPONSE, OHTTP_RESPONSE],
    [undefined, OHTTP_RESPONSE],
    ['application/json', OHTTP_RESPONSE],
  ] as const) {
    expect(() => checkMediaType(type, expected)).toThrow(expect.objectContaining({ code: 'WRONG_MEDIA_TYPE' }))
  }
})
