import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUtf8, fromHex, toHex } from '#protocol/bytes.ts'
import { EvidenceError, type EvidenceFormatCode } from './evidenceError.ts'
import { isDebugMode, parseNitroDocument } from './nitroDocument.ts'

/** CBOR written plainly: encoded bytes in, encoded bytes out. */
const uint = (value: number): Uint8Array => head(0, value)
const bytes = (content: Uint8Array): Uint8Array => concatBytes(head(2, content.length), content)
const text = (content: string): Uint8Array => concatBytes(head(3, content.length), encodeUtf8(content))
const array = (...items: Uint8Array[]): Uint8Array => concatBytes(head(4, items.length), ...items)
const map = (...entries: Entry[]): Uint8Array => concatBytes(head(5, entries.length), ...entries.flat())
const openMap = (...entries: Entry[]): Uint8Array => concatBytes(fromHex('0xbf'), ...entries.flat(), fromHex('0xff'))
const NULL = fromHex('0xf6')
type Entry = [Uint8Array, Uint8Array]

const pcr = (index: number, length = 48): Entry => [uint(index), bytes(new Uint8Array(length).fill(index + 1))]
const PCRS = [0, 1, 2].map((index) => pcr(index))
const FIELDS: Readonly<Record<string, Uint8Array>> = {
  module_id: text('i-0-enc0'),
  digest: text('SHA384'),
  timestamp: uint(1_767_472_867_402),
  pcrs: map(...PCRS),
  certificate: bytes(new Uint8Array(600).fill(1)),
  cabundle: array(bytes(new Uint8Array(500).fill(2)), bytes(new Uint8Array(1024).fill(3))),
  public_key: NULL,
  user_data: NULL,
  nonce: NULL,
}
const PROTECTED = bytes(fromHex('0xa1013822'))
const SIGNATURE = bytes(new Uint8Array(96).fill(9))

describe('what a document says', () => {
  it('is read by key, whatever the order, in maps of both kinds', () => {
    for (const [kind, order] of [
      [map, 1],
      [openMap, 1],
      [map, -1],
    ] as const) {
      const all = entries({ user_data: bytes(encodeUtf8('hello')), nonce: bytes(new Uint8Array()) })
      const payload = kind(...(order === 1 ? all : all.reverse()))
      const parsed = parseNitroDocument(wrap(payload))
      expect(parsed).toMatchObject({ moduleId: 'i-0-enc0', timestampMs: 1_767_472_867_402, publicKey: undefined })
      expect(parsed.userData).toEqual(encodeUtf8('hello'))
      expect(parsed.nonce).toEqual(new Uint8Array())
      expect(parsed.cabundle.map(({ length }) => length)).toEqual([500, 1024])
      expect(parsed.payload).toEqual(payload)
    }
  })

  it.each(['public_key', 'user_data', 'nonce'])(
    'may leave %s out, or have it null, empty or up to 1,024 bytes long',
    (field) => {
      const name = { public_key: 'publicKey', user_data: 'userData', nonce: 'nonce' }[field] ?? ''
      expect(parsePayload(without(field))).toHaveProperty(name, undefined)
      expect(parsePayload({ ...FIELDS, [field]: NULL })).toHaveProperty(name, undefined)
      for (const length of [0, 1, 1024]) {
        const content = new Uint8Array(length).fill(5)
        expect(parsePayload({ ...FIELDS, [field]: bytes(content) })).toHaveProperty(name, content)
      }
      expect(attemptPayload({ ...FIELDS, [field]: bytes(new Uint8Array(1025)) })).toBe('FIELD_LENGTH')
      expect(attemptPayload({ ...FIELDS, [field]: text('text') })).toBe('CBOR_TYPE')
      expect(attemptPayload({ ...FIELDS, [field]: fromHex('0xf7') })).toBe('CBOR_TYPE')
    },
  )

  it('may name its module in 256 characters, and bring eight certificates', () => {
    const cabundle = array(...Array.from({ length: 8 }, (_, i) => bytes(new Uint8Array(1024).fill(i))))
    const parsed = parsePayload({ ...FIELDS, module_id: text('x'.repeat(256)), cabundle })
    expect(parsed.moduleId).toHaveLength(256)
    expect(parsed.cabundle).toHaveLength(8)
  })

  it('has PCRs by index, in any order and with gaps', () => {
    const pcrs = map(pcr(31), pcr(2), pcr(8), pcr(0), pcr(1))
    const parsed = parsePayload({ ...FIELDS, pcrs })
    expect([...parsed.pcrs.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2, 8, 31])
    for (const [index, value] of parsed.pcrs) expect(value).toEqual(new Uint8Array(48).fill(index + 1))
    expect(parsed.bootPcrs.map(([first]) => first)).toEqual([1, 2, 3])
  })

  it('is what the module signed: Signature1, the header, nothing external, the payload', () => {
    const payload = map(...entries({}))
    const { signedBytes } = parseNitroDocument(wrap(payload))
    expect(toHex(signedBytes)).toBe(
      `0x846a5369676e61747572653144a10138224059${payload.length.toString(16).padStart(4, '0')}${toHex(payload).slice(2)}`,
    )
  })

  it('may carry unknown keys, of text or number, which are stepped over', () => {
    const more: Entry[] = [
      [text('nitrotpm_pcrs'), map(pcr(0))],
      [uint(7), array(uint(1), NULL)],
    ]
    expect(attempt(wrap(openMap(...entries({}), ...more)))).toBe('ok')
    expect(attempt(wrap(openMap(...entries({}), ...more, [uint(7), NULL])))).toBe('CBOR_DUPLICATE_KEY')
  })
})

describe('debug mode', () => {
  it('is PCR 0, 1 and 2 all zero, and nothing less', () => {
    const zero = new Uint8Array(48)
    const one = new Uint8Array(48)
    one[47] = 1
    expect(isDebugMode([zero, zero, zero])).toBe(true)
    expect(isDebugMode([one, zero, zero])).toBe(false)
    expect(isDebugMode([zero, one, zero])).toBe(false)
    expect(isDebugMode([zero, zero, one])).toBe(false)
  })
})

describe('a payload is refused', () => {
  it.each(['module_id', 'digest', 'timestamp', 'pcrs', 'certificate', 'cabundle'])('without %s', (field) => {
    expect(attemptPayload(without(field))).toBe('FIELD_MISSING')
    expect(attemptPayload({ ...FIELDS, [field]: NULL })).toBe('CBOR_TYPE')
  })

  it.each(Object.keys(FIELDS))('with %s twice', (field) => {
    const [first] = entries({}).filter(([key]) => toHex(key) === toHex(text(field)))
    if (first === undefined) throw new Error('every field has an entry')
    expect(attempt(wrap(map(...entries({}), first)))).toBe('CBOR_DUPLICATE_KEY')
  })

  it.each<[string, EvidenceFormatCode, Record<string, Uint8Array>]>([
    ['an empty module_id', 'FIELD_LENGTH', { module_id: text('') }],
    ['a module_id of 257 characters', 'FIELD_LENGTH', { module_id: text('x'.repeat(257)) }],
    ['another digest', 'FIELD_VALUE', { digest: text('SHA256') }],
    ['a digest in lower case', 'FIELD_VALUE', { digest: text('sha384') }],
    ['a negative timestamp', 'CBOR_TYPE', { timestamp: fromHex('0x20') }],
    ['a timestamp as float', 'CBOR_TYPE', { timestamp: fromHex('0xfb4279b8597a84a000') }],
    ['a timestamp of 2^53', 'CBOR_INTEGER_RANGE', { timestamp: fromHex('0x1b0020000000000000') }],
    ['PCR index 32', 'PCR_INDEX', { pcrs: map(...PCRS, pcr(32)) }],
    ['PCR index -1', 'PCR_INDEX', { pcrs: map(...PCRS, [fromHex('0x20'), bytes(new Uint8Array(48))]) }],
    ['a PCR index as text', 'PCR_INDEX', { pcrs: map(...PCRS, [text('3'), bytes(new Uint8Array(48))]) }],
    ['a PCR twice', 'CBOR_DUPLICATE_KEY', { pcrs: map(...PCRS, pcr(2)) }],
    ['a PCR of 47 bytes', 'PCR_LENGTH', { pcrs: map(...PCRS, pcr(3, 47)) }],
    ['a PCR of 32 bytes', 'PCR_LENGTH', { pcrs: map(...PCRS, pcr(3, 32)) }],
    ['a PCR of 64 bytes', 'PCR_LENGTH', { pcrs: map(...PCRS, pcr(3, 64)) }],
    ['no PCR 0', 'PCR_MISSING', { pcrs: map(pcr(1), pcr(2)) }],
    ['no PCR 2', 'PCR_MISSING', { pcrs: map(pcr(0), pcr(1), pcr(3)) }],
    ['no PCRs', 'PCR_MISSING', { pcrs: map() }],
    ['an empty bundle', 'BUNDLE_LENGTH', { cabundle: array() }],
    [
      'a bundle of nine',
      'BUNDLE_LENGTH',
      { cabundle: array(...Array.from({ length: 9 }, () => bytes(fromHex('0x30')))) },
    ],
    [
      'a bundle of nine that does not say how many',
      'BUNDLE_LENGTH',
      {
        cabundle: concatBytes(
          fromHex('0x9f'),
          ...Array.from({ length: 9 }, () => bytes(fromHex('0x30'))),
          fromHex('0xff'),
        ),
      },
    ],
    ['a certificate of 1,025 bytes', 'FIELD_LENGTH', { certificate: bytes(new Uint8Array(1025)) }],
    ['a CA certificate of 1,025 bytes', 'FIELD_LENGTH', { cabundle: array(bytes(new Uint8Array(1025))) }],
  ])('with %s', (_, code, change) => {
    expect(attemptPayload({ ...FIELDS, ...change })).toBe(code)
  })

  it('with bytes after its map', () => {
    expect(attempt(wrap(concatBytes(map(...entries({})), Uint8Array.of(0))))).toBe('CBOR_TRAILING_BYTES')
  })
})

describe('the envelope', () => {
  const payload = bytes(map(...entries({})))
  const empty = map()

  it('may be tagged 18 and may have an unprotected header', () => {
    expect(attempt(concatBytes(fromHex('0xd2'), array(PROTECTED, empty, payload, SIGNATURE)))).toBe('ok')
    expect(attempt(concatBytes(fromHex('0x9f'), PROTECTED, empty, payload, SIGNATURE, fromHex('0xff')))).toBe('ok')
    expect(
      attempt(array(PROTECTED, map([uint(4), bytes(encodeUtf8('kid'))], [text('x'), NULL]), payload, SIGNATURE)),
    ).toBe('ok')
  })

  it.each<[string, EvidenceFormatCode, Uint8Array]>([
    ['another tag', 'CBOR_TYPE', concatBytes(fromHex('0xd1'), array(PROTECTED, empty, payload, SIGNATURE))],
    ['the tag twice', 'CBOR_TYPE', concatBytes(fromHex('0xd2d2'), array(PROTECTED, empty, payload, SIGNATURE))],
    ['ES256', 'COSE_ALGORITHM', array(bytes(fromHex('0xa10126')), empty, payload, SIGNATURE)],
    ['ES512', 'COSE_ALGORITHM', array(bytes(fromHex('0xa1013823')), empty, payload, SIGNATURE)],
    ['no algorithm', 'COSE_ALGORITHM', array(bytes(fromHex('0xa0')), empty, payload, SIGNATURE)],
    ['an empty protected header', 'COSE_ALGORITHM', array(bytes(new Uint8Array()), empty, payload, SIGNATURE)],
    [
      'a second protected field',
      'COSE_ALGORITHM',
      array(bytes(fromHex('0xa2013822044100')), empty, payload, SIGNATURE),
    ],
    ['alg unprotected too', 'COSE_HEADER', array(PROTECTED, map([uint(1), fromHex('0x3822')]), payload, SIGNATURE)],
    ['crit unprotected', 'COSE_HEADER', array(PROTECTED, map([uint(2), array(uint(1))]), payload, SIGNATURE)],
    [
      'an unprotected label twice',
      'CBOR_DUPLICATE_KEY',
      array(PROTECTED, map([uint(4), NULL], [uint(4), NULL]), payload, SIGNATURE),
    ],
    ['an unprotected header that is no map', 'CBOR_TYPE', array(PROTECTED, array(), payload, SIGNATURE)],
    ['a detached payload', 'CBOR_TYPE', array(PROTECTED, empty, NULL, SIGNATURE)],
    ['an empty payload', 'CBOR_TRUNCATED', array(PROTECTED, empty, bytes(new Uint8Array()), SIGNATURE)],
    ['a signature of 95 bytes', 'COSE_SIGNATURE_LENGTH', array(PROTECTED, empty, payload, bytes(new Uint8Array(95)))],
    ['a signature of 104 bytes', 'COSE_SIGNATURE_LENGTH', array(PROTECTED, empty, payload, bytes(new Uint8Array(104)))],
    ['no signature', 'COSE_STRUCTURE', array(PROTECTED, empty, payload)],
    ['a fifth item', 'COSE_STRUCTURE', array(PROTECTED, empty, payload, SIGNATURE, NULL)],
    ['16,385 bytes', 'DOCUMENT_SIZE', new Uint8Array(16_385)],
    ['16,384 bytes, which are not too many, of another type', 'CBOR_TYPE', new Uint8Array(16_384)],
  ])('is refused with %s', (_, code, document) => {
    expect(attempt(document)).toBe(code)
  })

  it('is refused at every length but its own', () => {
    const document = array(PROTECTED, empty, payload, SIGNATURE)
    for (let length = 0; length < document.length; length++) {
      expect(attempt(document.subarray(0, length))).toBe('CBOR_TRUNCATED')
    }
    expect(attempt(concatBytes(document, Uint8Array.of(0)))).toBe('CBOR_TRAILING_BYTES')
  })
})

function head(major: number, argument: number): Uint8Array {
  const wide = new Uint8Array(9)
  new DataView(wide.buffer).setBigUint64(1, BigInt(argument))
  for (const [info, length] of [
    [24, 1],
    [25, 2],
    [26, 4],
    [27, 8],
  ] as const) {
    if (argument < 24) return Uint8Array.of((major << 5) | argument)
    if (argument < 256 ** length) return Uint8Array.of((major << 5) | info, ...wide.subarray(9 - length))
  }
  throw new Error('no such length')
}

function entries(change: Record<string, Uint8Array>): Entry[] {
  return Object.entries({ ...FIELDS, ...change }).map(([key, value]) => [text(key), value])
}

function without(field: string): Record<string, Uint8Array> {
  return Object.fromEntries(Object.entries(FIELDS).filter(([key]) => key !== field))
}

function wrap(payload: Uint8Array): Uint8Array {
  return array(PROTECTED, map(), bytes(payload), SIGNATURE)
}

function documentOf(fields: Readonly<Record<string, Uint8Array>>): Uint8Array {
  return wrap(map(...Object.entries(fields).map(([key, value]): Entry => [text(key), value])))
}

function parsePayload(fields: Readonly<Record<string, Uint8Array>>): ReturnType<typeof parseNitroDocument> {
  return parseNitroDocument(documentOf(fields))
}

function attemptPayload(fields: Readonly<Record<string, Uint8Array>>): EvidenceFormatCode | 'ok' {
  return attempt(documentOf(fields))
}

function attempt(document: Uint8Array): EvidenceFormatCode | 'ok' {
  try {
    parseNitroDocument(document)
    return 'ok'
  } catch (error) {
    if (error instanceof EvidenceError) return error.code
    throw error
  }
}
