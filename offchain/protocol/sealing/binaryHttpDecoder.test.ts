import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUtf8 } from '../bytes.ts'
import { encodeContentChunk, encodeEnd, encodeRequest, encodeResponse, encodeResponseHead } from './binaryHttp.ts'
import { BinaryHttpDecoder, type BinaryHttpEvent, type BinaryHttpLimits, decodeRequest } from './binaryHttpDecoder.ts'
import { BinaryHttpError } from './binaryHttpFields.ts'
import { encodeVarint } from './varint.ts'

const LIMITS: BinaryHttpLimits = { metadataBytesMax: 200, contentBytesMax: 300 }
const HEADERS = [
  ['content-type', 'application/json'],
  ['x', ''],
] as const
const REQUEST = { method: 'POST', scheme: 'https', authority: 'a.example', path: '/v1', headers: HEADERS }
const TRAILERS = [['receipt', 'abc']] as const
const BODY = encodeUtf8('{"stream":true}')

const string = (text: string): Uint8Array => concatBytes(encodeVarint(text.length), encodeUtf8(text))
const control = (...parts: string[]): Uint8Array => concatBytes(...parts.map(string))

const WHOLE: readonly (readonly ['request' | 'response', string, Uint8Array])[] = [
  ['request', 'known length', encodeRequest({ ...REQUEST, body: BODY, trailers: TRAILERS })],
  ['response', 'known length', encodeResponse({ status: 200, headers: HEADERS, body: BODY, trailers: TRAILERS })],
  [
    'request',
    'indeterminate length',
    concatBytes(
      Uint8Array.of(2),
      control('POST', 'https', 'a.example', '/v1', 'a', 'b'),
      Uint8Array.of(0),
      encodeContentChunk(BODY),
      encodeEnd(TRAILERS),
    ),
  ],
  [
    'response',
    'indeterminate length',
    concatBytes(
      Uint8Array.of(3, 0x40, 103),
      control('link', 'x'),
      Uint8Array.of(0),
      encodeResponseHead({ status: 200, headers: HEADERS }).subarray(1),
      encodeContentChunk(BODY),
      encodeContentChunk(BODY),
      encodeEnd(TRAILERS),
    ),
  ],
]

function decode(kind: 'request' | 'response', pieces: readonly Uint8Array[], limits = LIMITS): BinaryHttpEvent[] {
  const decoder = new BinaryHttpDecoder(kind, limits)
  return [...pieces.flatMap((piece) => decoder.push(piece)), ...decoder.end()]
}

/** Content joined, so that events do not depend on how the bytes were portioned. */
function normal(events: readonly BinaryHttpEvent[]): unknown {
  const content = concatBytes(...events.map((event) => (event.type === 'content' ? event.bytes : new Uint8Array())))
  return { content, others: events.filter((event) => event.type !== 'content') }
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (error instanceof BinaryHttpError) return error.code
    throw error
  }
}

describe.each(WHOLE)('a %s of %s', (kind, _framing, message) => {
  it('reads the same in whatever portions it comes', () => {
    const whole = normal(decode(kind, [message]))
    const single = Array.from(message, (byte) => Uint8Array.of(byte))
    expect(normal(decode(kind, single))).toEqual(whole)
    fc.assert(
      fc.property(fc.array(fc.nat(message.length), { maxLength: 6 }), (cuts) => {
        const edges = [0, ...cuts.sort((a, b) => a - b), message.length]
        const pieces = edges.slice(1).map((end, i) => message.subarray(edges[i], end))
        expect(normal(decode(kind, pieces))).toEqual(whole)
      }),
      { numRuns: 50 },
    )
  })

  it('cut at any length is truncated or reads with empty parts missing, never with a part cut short', () => {
    const whole = decode(kind, [message])
    let refusals = 0
    for (let end = 0; end < message.length; end++) {
      const code = codeOf(() => {
        const events = decode(kind, [message.subarray(0, end)])
        const content = events.filter((event) => event.type === 'content')
        const wholeContent = whole.filter((event) => event.type === 'content')
        expect(content.length === 0 || normal(content)).toEqual(content.length === 0 || normal(wholeContent))
        for (const event of events) {
          if (event.type === 'trailers') expect(event.trailers).toEqual([])
          else if (event.type !== 'content' && event.headers.length > 0) expect(whole).toContainEqual(event)
        }
      })
      if (code === undefined) continue
      expect(code).toBe('TRUNCATED')
      refusals++
    }
    // Cuts are allowed where headers, content and trailers begin, and nowhere else.
    expect(message.length - refusals).toBeLessThanOrEqual(3)
    expect(message.length - refusals).toBeGreaterThanOrEqual(2)
  })

  it('takes one zero byte more as padding and refuses any other', () => {
    expect(normal(decode(kind, [message, Uint8Array.of(0)]))).toEqual(normal(decode(kind, [message])))
    for (const byte of [1, 0x40, 0xff]) {
      expect(codeOf(() => decode(kind, [message, Uint8Array.of(byte)]))).toBe('BAD_PADDING')
    }
  })

  it('with any bit flipped reads as something else or is refused', () => {
    const whole = normal(decode(kind, [message]))
    for (let i = 0; i < message.length * 8; i++) {
      const flipped = message.slice()
      flipped[i >> 3] = (flipped[i >> 3] ?? 0) ^ (1 << (i & 7))
      codeOf(() => expect(normal(decode(kind, [flipped]))).not.toEqual(whole))
    }
  })
})

it('never fails but with its own error on arbitrary bytes', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3 }), fc.uint8Array({ maxLength: 80 }), (framing, rest) => {
      codeOf(() => decode(framing % 2 === 0 ? 'request' : 'response', [Uint8Array.of(framing), rest]))
    }),
    { numRuns: 2000 },
  )
})

it('reads a message that ends behind its control data, as in RFC 9458 appendix A', () => {
  expect(decode('response', [Uint8Array.of(1, 0x40, 0xc8)])).toEqual([
    { type: 'response', status: 200, headers: [] },
    { type: 'trailers', trailers: [] },
  ])
})

it('needs a final status behind informational responses', () => {
  expect(codeOf(() => decode('response', [Uint8Array.of(1, 0x40, 103)]))).toBe('TRUNCATED')
  expect(codeOf(() => decode('response', [Uint8Array.of(1, 0x40, 103, 0)]))).toBe('TRUNCATED')
})

it('refuses content that was begun and not ended', () => {
  const head = encodeResponseHead({ status: 200, headers: [] })
  expect(codeOf(() => decode('response', [head, encodeContentChunk(BODY)]))).toBe('TRUNCATED')
  expect(codeOf(() => decode('response', [Uint8Array.of(1, 0x40, 0xc8, 0, 5, 1, 2)]))).toBe('TRUNCATED')
})

it.each([
  ['an unknown framing', 'request', Uint8Array.of(4), 'BAD_FRAMING'],
  ['a response where a request is due', 'request', Uint8Array.of(1), 'BAD_FRAMING'],
  ['a request where a response is due', 'response', Uint8Array.of(2), 'BAD_FRAMING'],
  ['a huge framing', 'response', new Uint8Array(8).fill(0xff), 'BAD_FRAMING'],
  ['a status below 100', 'response', Uint8Array.of(1, 0x40, 99), 'BAD_STATUS'],
  ['a status above 599', 'response', Uint8Array.of(1, 0x42, 0x58), 'BAD_STATUS'],
  ['an empty method', 'request', concatBytes(Uint8Array.of(0), control('', 'https', '', '/')), 'BAD_CONTROL_DATA'],
  [
    'a line break in the path',
    'request',
    concatBytes(Uint8Array.of(0), control('GET', 'a', '', '/\n')),
    'BAD_CONTROL_DATA',
  ],
  ['an upper-case name', 'response', concatBytes(Uint8Array.of(3, 0x40, 0xc8), control('A', 'b')), 'BAD_FIELD_NAME'],
  ['a pseudo-header', 'response', concatBytes(Uint8Array.of(3, 0x40, 0xc8), control(':s', 'b')), 'BAD_FIELD_NAME'],
  ['CR in a value', 'response', concatBytes(Uint8Array.of(3, 0x40, 0xc8), control('a', 'x\ry')), 'BAD_FIELD_VALUE'],
  ['LF in a value', 'response', concatBytes(Uint8Array.of(3, 0x40, 0xc8), control('a', '\n')), 'BAD_FIELD_VALUE'],
  ['NUL in a value', 'response', concatBytes(Uint8Array.of(3, 0x40, 0xc8), control('a', 'x\0')), 'BAD_FIELD_VALUE'],
  ['a value past its section', 'response', Uint8Array.of(1, 0x40, 0xc8, 3, 1, 0x61, 9, 0, 0), 'BAD_FIELD_SECTION'],
  ['a name without value', 'response', Uint8Array.of(1, 0x40, 0xc8, 2, 1, 0x61), 'BAD_FIELD_SECTION'],
] as const)('refuses %s', (_what, kind, bytes, code) => {
  expect(codeOf(() => decode(kind, [bytes]))).toBe(code)
})

describe('bounds', () => {
  const huge = new Uint8Array(8).fill(0xff)

  it('refuse metadata by its length, before it comes', () => {
    for (const length of [encodeVarint(201), encodeVarint(2 ** 40), huge]) {
      expect(codeOf(() => decode('request', [Uint8Array.of(0), length]))).toBe('METADATA_TOO_LARGE')
      expect(codeOf(() => decode('response', [Uint8Array.of(1, 0x40, 0xc8), length]))).toBe('METADATA_TOO_LARGE')
      expect(codeOf(() => decode('response', [Uint8Array.of(3, 0x40, 0xc8), length]))).toBe('METADATA_TOO_LARGE')
      const name = Uint8Array.of(3, 0x40, 0xc8, 1, 0x61)
      expect(codeOf(() => decode('response', [name, length]))).toBe('METADATA_TOO_LARGE')
    }
  })

  it('count all metadata together: control data and every section', () => {
    const line = control('name', 'x'.repeat(40))
    const head = Uint8Array.of(3, 0x40, 0xc8)
    expect(codeOf(() => decode('response', [head, line, line, line, line]))).toBe('TRUNCATED')
    expect(codeOf(() => decode('response', [head, line, line, line, line, line]))).toBe('METADATA_TOO_LARGE')
    const trailers = [head, line, line, Uint8Array.of(0, 0), line, line, line]
    expect(codeOf(() => decode('response', trailers))).toBe('METADATA_TOO_LARGE')
  })

  it('count each informational response by itself, and none of them towards the message', () => {
    const line = control('name', 'x'.repeat(40))
    const informational = (...lines: Uint8Array[]) => [Uint8Array.of(0x40, 103), ...lines, Uint8Array.of(0)]
    const rest = [encodeResponseHead({ status: 200, headers: HEADERS }).subarray(1), encodeEnd(TRAILERS)]
    const many = Array.from({ length: 100 }, () => informational(line, line, line)).flat()
    const events = decode('response', [Uint8Array.of(3), ...many, ...rest])
    expect(events.filter(({ type }) => type === 'informational')).toHaveLength(100)
    expect(events.slice(100)).toEqual([
      { type: 'response', status: 200, headers: HEADERS },
      { type: 'trailers', trailers: TRAILERS },
    ])
    const tooLarge = informational(line, line, line, line, line)
    expect(codeOf(() => decode('response', [Uint8Array.of(3), ...tooLarge]))).toBe('METADATA_TOO_LARGE')
    const tooLargeLater = [Uint8Array.of(3), ...informational(line), ...tooLarge]
    expect(codeOf(() => decode('response', tooLargeLater))).toBe('METADATA_TOO_LARGE')
    const head = [Uint8Array.of(0x40, 0xc8), line, line, line, line, line]
    expect(codeOf(() => decode('response', [Uint8Array.of(3), ...informational(), ...head]))).toBe('METADATA_TOO_LARGE')
  })

  it('refuse content by its length, in one part or over many', () => {
    const known = Uint8Array.of(1, 0x40, 0xc8, 0)
    for (const length of [encodeVarint(301), huge]) {
      expect(codeOf(() => decode('response', [known, length]))).toBe('CONTENT_TOO_LARGE')
    }
    const head = encodeResponseHead({ status: 200, headers: [] })
    const piece = encodeContentChunk(new Uint8Array(100))
    expect(decode('response', [head, piece, piece, piece, encodeEnd()])).toHaveLength(5)
    const tooMuch = [head, piece, piece, piece, encodeVarint(1)]
    expect(codeOf(() => decode('response', tooMuch))).toBe('CONTENT_TOO_LARGE')
  })
})

describe('unless told otherwise', () => {
  it('metadata of 65,536 bytes are taken and not one more', () => {
    // Framing; a length in front of each of four control strings, of the section, of the name and of the value.
    const control = concatBytes(Uint8Array.of(0, 4), encodeUtf8('POST'), Uint8Array.of(5), encodeUtf8('https'))
    const withValue = (bytes: number): Uint8Array => {
      const line = concatBytes(Uint8Array.of(1, 0x61), encodeVarint(bytes), new Uint8Array(bytes).fill(0x78))
      return concatBytes(control, Uint8Array.of(0, 1, 0x2f), encodeVarint(line.length), line)
    }
    const valueBytes = 65_536 - (1 + 4 + 1 + 5 + 1 + 1 + 1) - 4 - (1 + 1 + 4)
    expect(decodeRequest(withValue(valueBytes)).headers[0]?.[1]).toHaveLength(valueBytes)
    expect(codeOf(() => decodeRequest(withValue(valueBytes + 1)))).toBe('METADATA_TOO_LARGE')
  })

  it('content of 16,777,216 bytes is taken and not one more', () => {
    const known = Uint8Array.of(1, 0x40, 0xc8, 0)
    const begun = (bytes: number) => new BinaryHttpDecoder('response').push(concatBytes(known, encodeVarint(bytes)))
    expect(begun(16_777_216)).toHaveLength(1)
    expect(codeOf(() => begun(16_777_217))).toBe('CONTENT_TOO_LARGE')
  })
})

it('is closed after its end and after a failure', () => {
  const ended = new BinaryHttpDecoder('response')
  ended.push(Uint8Array.of(1, 0x40, 0xc8))
  ended.end()
  expect(codeOf(() => ended.push(new Uint8Array()))).toBe('CLOSED')
  expect(codeOf(() => ended.end())).toBe('CLOSED')
  const failed = new BinaryHttpDecoder('response')
  expect(codeOf(() => failed.push(Uint8Array.of(0)))).toBe('BAD_FRAMING')
  expect(codeOf(() => failed.end())).toBe('CLOSED')
})

it('reads a request of either framing as a whole', () => {
  for (const [kind, , message] of WHOLE) {
    if (kind !== 'request') continue
    expect(decodeRequest(message)).toMatchObject({ method: 'POST', path: '/v1', body: BODY, trailers: TRAILERS })
  }
})
