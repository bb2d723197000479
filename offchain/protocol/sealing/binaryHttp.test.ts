import { describe, expect, it } from 'vitest'
import vectors from '../../../test/vectors/ohttp-binary-http.json' with { type: 'json' }
import { encodeUtf8, fromHex, toHex } from '../bytes.ts'
import { encodeContentChunk, encodeEnd, encodeRequest, encodeResponse, encodeResponseHead } from './binaryHttp.ts'
import { BinaryHttpDecoder, type BinaryHttpEvent, decodeRequest } from './binaryHttpDecoder.ts'

const REQUEST = { method: 'POST', scheme: 'https', authority: 'a.example', path: '/v1?x=1', headers: [] }

const messages = new Map(vectors.messages.map((message) => [message.name, message]))
function example(name: string): Uint8Array<ArrayBuffer> {
  const message = messages.get(name)
  if (message === undefined) throw new Error(`no example ${name}`)
  return fromHex(`0x${message.hex}`)
}

function decodeResponse(bytes: Uint8Array): BinaryHttpEvent[] {
  const decoder = new BinaryHttpDecoder('response')
  return [...decoder.push(bytes), ...decoder.end()]
}

describe('the examples of RFC 9292 section 5', () => {
  it.each(['request_known_length', 'request_indeterminate_length_10_bytes_padding'])(
    '%s reads as described',
    (name) => {
      const request = decodeRequest(example(name))
      const described = messages.get(name)
      expect(request).toMatchObject({ method: described?.method, scheme: described?.scheme, path: described?.path })
      expect(request.headers).toEqual(described?.headers)
      expect(request).toMatchObject({ authority: '', trailers: [] })
      expect(request.body).toHaveLength(0)
    },
  )

  it.each(['request_known_length', 'request_indeterminate_length_10_bytes_padding'])(
    '%s may lose exactly its empty trailing parts and padding',
    (name) => {
      const whole = example(name)
      const cuttable = messages.get(name)?.truncatable_bytes ?? 0
      expect(cuttable).toBeGreaterThan(0)
      for (let cut = 0; cut <= cuttable; cut++) {
        expect(decodeRequest(whole.subarray(0, whole.length - cut))).toEqual(decodeRequest(whole))
      }
      expect(() => decodeRequest(whole.subarray(0, whole.length - cuttable - 1))).toThrow(
        expect.objectContaining({ code: 'TRUNCATED' }),
      )
    },
  )

  it('the response of indeterminate length reads with both informational responses', () => {
    const described = messages.get('response_indeterminate_length_with_102_103')
    const events = decodeResponse(example('response_indeterminate_length_with_102_103'))
    expect(events.slice(0, 2)).toEqual(
      described?.informational?.map((part) => ({ type: 'informational', status: part.status, headers: part.headers })),
    )
    expect(events.slice(2)).toEqual([
      { type: 'response', status: 200, headers: described?.headers },
      { type: 'content', bytes: encodeUtf8(described?.content_utf8 ?? '') },
      { type: 'trailers', trailers: [] },
    ])
  })

  it('the response of known length reads with its trailer, and is written the same', () => {
    const bytes = example('response_known_length_with_trailer')
    const body = encodeUtf8('This content contains CRLF.\r\n')
    expect(decodeResponse(bytes)).toEqual([
      { type: 'response', status: 200, headers: [] },
      { type: 'content', bytes: body },
      { type: 'trailers', trailers: [['trailer', 'text']] },
    ])
    expect(toHex(encodeResponse({ status: 200, headers: [], body, trailers: [['trailer', 'text']] }))).toBe(
      toHex(bytes),
    )
  })

  it('the request of known length is written the same', () => {
    const { method, scheme, authority, path, headers } = decodeRequest(example('request_known_length'))
    expect(encodeRequest({ method, scheme, authority, path, headers })).toEqual(example('request_known_length'))
  })
})

it('writes a response of indeterminate length in parts', () => {
  const parts = [
    encodeResponseHead({ status: 200, headers: [['a', 'b']] }),
    encodeContentChunk(encodeUtf8('one')),
    encodeContentChunk(new Uint8Array()),
    encodeContentChunk(new Uint8Array(100).fill(7)),
    encodeEnd([['t', 'u']]),
  ]
  expect(parts[2]).toHaveLength(0)
  const decoder = new BinaryHttpDecoder('response')
  const events = [...parts.flatMap((part) => decoder.push(part)), ...decoder.end()]
  expect(events).toEqual([
    { type: 'response', status: 200, headers: [['a', 'b']] },
    { type: 'content', bytes: encodeUtf8('one') },
    { type: 'content', bytes: new Uint8Array(100).fill(7) },
    { type: 'trailers', trailers: [['t', 'u']] },
  ])
})

it('pads with zero bytes to the given total', () => {
  const plain = encodeRequest(REQUEST)
  const padded = encodeRequest(REQUEST, () => 512)
  expect(padded).toHaveLength(512)
  expect(padded.subarray(0, plain.length)).toEqual(plain)
  expect(padded.subarray(plain.length).every((byte) => byte === 0)).toBe(true)
  expect(decodeRequest(padded)).toEqual(decodeRequest(plain))
  expect(() => encodeRequest(REQUEST, (bytes) => bytes - 1)).toThrow(expect.objectContaining({ code: 'BAD_PADDING' }))
})

it('keeps repeated fields and bytes above ASCII in order', () => {
  const headers = [
    ['set-cookie', 'a=1'],
    ['x', 'caf\u00e9 \u00ff'],
    ['set-cookie', 'b=2'],
    ['empty', ''],
  ] as const
  expect(decodeRequest(encodeRequest({ ...REQUEST, headers })).headers).toEqual(headers)
})

it.each([
  ['an upper-case name', 'A', 'v', 'BAD_FIELD_NAME'],
  ['a pseudo-header', ':path', '/', 'BAD_FIELD_NAME'],
  ['an empty name', '', 'v', 'BAD_FIELD_NAME'],
  ['CR', 'a', 'x\ry', 'BAD_FIELD_VALUE'],
  ['LF', 'a', 'x\ny', 'BAD_FIELD_VALUE'],
  ['NUL', 'a', 'x\0y', 'BAD_FIELD_VALUE'],
  ['a leading space', 'a', ' x', 'BAD_FIELD_VALUE'],
  ['a trailing tab', 'a', 'x\t', 'BAD_FIELD_VALUE'],
  ['a character wider than a byte', 'a', '\u0100', 'BAD_FIELD_VALUE'],
])('does not write a field with %s', (_what, name, value, code) => {
  const headers = [[name, value] as const]
  expect(() => encodeRequest({ ...REQUEST, headers })).toThrow(expect.objectContaining({ code }))
  expect(() => encodeEnd(headers)).toThrow(expect.objectContaining({ code }))
})

it.each([
  ['method', 'GE T'],
  ['method', ''],
  ['scheme', '1http'],
  ['authority', 'a b'],
  ['path', '/\r\nx'],
  ['path', '/\u00e9'],
])('does not write a request whose %s is %j', (part, value) => {
  expect(() => encodeRequest({ ...REQUEST, [part]: value })).toThrow(
    expect.objectContaining({ code: 'BAD_CONTROL_DATA' }),
  )
})

it.each([100, 199, 600, 200.5])('does not write a response with status %d', (status) => {
  expect(() => encodeResponseHead({ status, headers: [] })).toThrow(expect.objectContaining({ code: 'BAD_STATUS' }))
  expect(() => encodeResponse({ status, headers: [] })).toThrow(expect.objectContaining({ code: 'BAD_STATUS' }))
})
