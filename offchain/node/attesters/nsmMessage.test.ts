import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUtf8, fromHex, toHex } from '#protocol/bytes.ts'
import { AttesterError, type AttesterErrorCode } from './attester.ts'
import { encodeCborBytes, encodeCborMap, encodeCborOpenMap, encodeCborText, encodeCborUint } from './cborEncode.ts'
import { createNitroAttester } from './nitro.ts'
import { decodeAttestationAnswer, encodeAttestationRequest } from './nsmMessage.ts'

/** Refuses to attest with one of AWS's error codes: { "Error": "InvalidArgument" }. */
const REFUSAL = fromHex('0xa1654572726f726f496e76616c6964417267756d656e74')
const DOCUMENT = fromHex('0x8444a1013822a0')
/** { "Attestation": { "document": DOCUMENT } }, written out by hand. */
const ANSWER = concatBytes(
  fromHex('0xa16b'),
  encodeUtf8('Attestation'),
  fromHex('0xa168'),
  encodeUtf8('document'),
  fromHex('0x47'),
  DOCUMENT,
)

describe('a request', () => {
  it('has the bytes that the Rust library of AWS sends', () => {
    const request = encodeAttestationRequest({ userData: fromHex('0x0102'), publicKey: fromHex('0xaa') })
    // map(1) "Attestation": map(3) "user_data": bytes, "nonce": null, "public_key": bytes.
    const expected = concatBytes(
      fromHex('0xa16b'),
      encodeUtf8('Attestation'),
      fromHex('0xa369'),
      encodeUtf8('user_data'),
      fromHex('0x420102'),
      fromHex('0x65'),
      encodeUtf8('nonce'),
      fromHex('0xf6'),
      fromHex('0x6a'),
      encodeUtf8('public_key'),
      fromHex('0x41aa'),
    )
    expect(toHex(request)).toBe(toHex(expected))
  })

  it('takes every field at its bound and fits into what the device takes', () => {
    const request = encodeAttestationRequest({
      userData: new Uint8Array(512),
      nonce: new Uint8Array(512),
      publicKey: new Uint8Array(1024),
    })
    expect(request.length).toBeLessThanOrEqual(0x1000)
    expect(() => encodeAttestationRequest({ userData: new Uint8Array(), nonce: new Uint8Array() })).not.toThrow()
  })

  it.each([
    ['userData', { userData: new Uint8Array(513) }, 'FIELD_TOO_LONG'],
    ['nonce', { userData: new Uint8Array(), nonce: new Uint8Array(513) }, 'FIELD_TOO_LONG'],
    ['publicKey', { userData: new Uint8Array(), publicKey: new Uint8Array(1025) }, 'FIELD_TOO_LONG'],
    ['publicKey', { userData: new Uint8Array(), publicKey: new Uint8Array() }, 'FIELD_EMPTY'],
  ] as const)('is refused with a %s outside its bounds', (field, request, code) => {
    expect(() => encodeAttestationRequest(request)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(field) }),
    )
  })
})

describe('an answer', () => {
  it('gives its document, a copy', () => {
    const answer = new Uint8Array(ANSWER)
    const document = decodeAttestationAnswer(answer)
    answer.fill(0)
    expect(document).toEqual(DOCUMENT)
    expect(document.buffer.byteLength).toBe(DOCUMENT.length)
  })

  it('may be written with maps of indefinite length and carry fields nobody knows', () => {
    const fields = encodeCborOpenMap([
      [encodeCborText('version'), encodeCborUint(2)],
      [encodeCborText('document'), encodeCborBytes(DOCUMENT)],
    ])
    expect(decodeAttestationAnswer(encodeCborOpenMap([[encodeCborText('Attestation'), fields]]))).toEqual(DOCUMENT)
  })

  it("that is an error is refused with the module's own word", () => {
    const expected = { code: 'MODULE_REFUSED', message: 'the Nitro module refused to attest: InvalidArgument' }
    expect(() => decodeAttestationAnswer(REFUSAL)).toThrow(expect.objectContaining(expected))
  })

  it('cut at any length, or with a byte after it, is refused', () => {
    for (const whole of [ANSWER, REFUSAL]) {
      for (let length = 0; length < whole.length; length++) {
        expect(codeOf(() => decodeAttestationAnswer(whole.subarray(0, length)))).toBe('BAD_MODULE_ANSWER')
      }
      expect(codeOf(() => decodeAttestationAnswer(concatBytes(whole, new Uint8Array(1))))).toBe('BAD_MODULE_ANSWER')
    }
  })

  it('without a document, to another question, or of two kinds is refused', () => {
    const attestation = [encodeCborText('Attestation'), encodeCborMap([])] as const
    const full = [
      encodeCborText('Attestation'),
      encodeCborMap([[encodeCborText('document'), encodeCborBytes(DOCUMENT)]]),
    ] as const
    const random = [encodeCborText('GetRandom'), encodeCborMap([])] as const
    for (const entries of [[], [attestation], [random], [full, random], [full, full]]) {
      expect(codeOf(() => decodeAttestationAnswer(encodeCborMap(entries)))).toBe('BAD_MODULE_ANSWER')
    }
    const listed = encodeCborMap([[encodeCborText('document'), fromHex('0x8101')]])
    expect(codeOf(() => decodeAttestationAnswer(encodeCborMap([[encodeCborText('Attestation'), listed]])))).toBe(
      'BAD_MODULE_ANSWER',
    )
  })
})

describe('the Nitro attester', () => {
  it('sends the request to its device and gives back the document', async () => {
    const sent: Uint8Array[] = []
    const attester = createNitroAttester({
      exchange(request) {
        sent.push(request)
        return ANSWER
      },
      close() {},
    })
    const request = { userData: fromHex('0x01'), nonce: fromHex('0x02') }
    expect(attester.kind).toBe('nitro')
    expect(await attester.attest(request)).toEqual(DOCUMENT)
    expect(sent).toEqual([encodeAttestationRequest(request)])
  })

  it('passes on why the module refused, and asks it nothing that it cannot take', async () => {
    let asked = 0
    const attester = createNitroAttester({
      async exchange() {
        asked++
        return REFUSAL
      },
      close() {},
    })
    await expect(attester.attest({ userData: new Uint8Array(513) })).rejects.toMatchObject({ code: 'FIELD_TOO_LONG' })
    expect(asked).toBe(0)
    await expect(attester.attest({ userData: new Uint8Array() })).rejects.toMatchObject({ code: 'MODULE_REFUSED' })
    expect(asked).toBe(1)
  })
})

function codeOf(run: () => unknown): AttesterErrorCode | undefined {
  try {
    run()
  } catch (error) {
    if (error instanceof AttesterError) return error.code
    throw error
  }
  return undefined
}
