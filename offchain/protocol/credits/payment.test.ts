/** The payment and its answer as bytes: one encoding each, and every other one refused with its own code. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, decodeUint, encodeUtf8, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { fiveBitsRoundedUp } from '../prices.ts'
import { BLANK_SLOTS, CREDIT_SLOTS, splitChange, totalUnits } from './amounts.ts'
import { blindMessage, publicKeyOf, signBlinded } from './blindSignature.ts'
import { CHANGE_BYTES, type Change, decodeChange, encodeChange, verifyChange } from './change.ts'
import type { CreditErrorCode } from './creditError.ts'
import { EXIT_SECONDS_MIN, type Keyset } from './keyset.ts'
import { hashToG1 } from './message.ts'
import { CREDIT_SLOT_BYTES, decodePayment, encodePayment, PAYMENT_BYTES, type Payment, paymentId } from './payment.ts'
import { decodeG1, encodeG1 } from './points.ts'

const CREDITS_AT = 61
const BLANKS_AT = CREDITS_AT + CREDIT_SLOTS * CREDIT_SLOT_BYTES
const points = Array.from({ length: 40 }, (_, i) => encodeG1(hashToG1(word(`point ${i}`))))
const payment = paymentOf([10, 3, 3], 992n)
const encoded = encodePayment(payment)

describe('a payment', () => {
  it('is 2,405 bytes, however many credits it carries', () => {
    expect(PAYMENT_BYTES).toBe(2_405)
    for (let count = 1; count <= CREDIT_SLOTS; count++) {
      expect(
        encodePayment(
          paymentOf(
            Array.from({ length: count }, () => 0),
            0n,
          ),
        ),
      ).toHaveLength(PAYMENT_BYTES)
    }
  })

  it('comes back as it went in, with its credits in order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 23 }), { minLength: 1, maxLength: 8 }),
        fc.nat({ max: 100 }),
        (kinds, part) => {
          const fee = (totalUnits(kinds) * BigInt(part)) / 200n
          const original = paymentOf(kinds, fiveBitsRoundedUp(fee))
          const bytes = encodePayment(original)
          expect(decodePayment(bytes)).toEqual({ ...original, credits: sorted(original.credits) })
          expect(encodePayment(decodePayment(bytes))).toEqual(bytes)
          expect(encodePayment({ ...original, credits: original.credits.toReversed() })).toEqual(bytes)
        },
      ),
      { numRuns: 50, seed: 11 },
    )
  })

  it('is named by the hash of its bytes', () => {
    expect(paymentId(encoded)).toBe(toHex(keccak256(encoded)))
    const { blanks } = payment
    const other = encodePayment({ ...payment, blanks: blanks.toReversed() })
    expect(paymentId(other)).not.toBe(paymentId(encoded))
    refuses(() => paymentId(encoded.subarray(1)), 'WRONG_LENGTH')
  })

  it('is refused at every other length', () => {
    for (let length = 0; length < PAYMENT_BYTES; length++) {
      refuses(() => decodePayment(encoded.subarray(0, length)), 'WRONG_LENGTH')
    }
    refuses(() => decodePayment(concatBytes(encoded, Uint8Array.of(0))), 'WRONG_LENGTH')
  })

  it('with any one bit flipped is refused, or is another payment with another name', () => {
    for (let bit = 0; bit < 8 * PAYMENT_BYTES; bit++) {
      const bytes = encoded.slice()
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const decoded = attempt(() => decodePayment(bytes))
      if (decoded !== undefined && toHex(encodePayment(decoded)) !== toHex(bytes)) {
        throw new Error(`bit ${bit} makes a second encoding of one payment`)
      }
    }
  })

  it('is refused under another version', () => {
    refuses(() => decodePayment(changed(encoded, 0, [2])), 'WRONG_VERSION')
    refuses(() => decodePayment(changed(encoded, 0, [0])), 'WRONG_VERSION')
  })

  it('is refused with one credit twice, though one may claim to be worth more', () => {
    const [first, second] = payment.credits
    if (first === undefined || second === undefined) throw new Error('expected credits')
    refuses(() => encodePayment({ ...payment, credits: [first, first] }), 'CREDIT_REPEATED')
    refuses(() => encodePayment({ ...payment, credits: [first, { ...first, exponent: 22 }] }), 'CREDIT_REPEATED')
    refuses(
      () => encodePayment({ ...payment, credits: [first, { ...second, secret: first.secret }] }),
      'CREDIT_REPEATED',
    )
  })

  it('is refused with credits out of order or after an empty slot', () => {
    const slot = (i: number): Uint8Array =>
      encoded.slice(CREDITS_AT + i * CREDIT_SLOT_BYTES, CREDITS_AT + (i + 1) * CREDIT_SLOT_BYTES)
    refuses(() => decodePayment(changed(encoded, CREDITS_AT, [...slot(1), ...slot(0)])), 'NOT_CANONICAL')
    refuses(() => decodePayment(changed(encoded, CREDITS_AT, [...slot(4), ...slot(0)])), 'NOT_CANONICAL')
  })

  it('is refused with no credit, and with more than eight', () => {
    refuses(() => encodePayment({ ...payment, credits: [], maximumFee: 0n }), 'NO_CREDITS')
    refuses(() => encodePayment(paymentOf([1, 1, 1, 1, 1, 1, 1, 1, 1], 1n)), 'TOO_FEW_SLOTS')
  })

  it('is refused with a slot that is neither empty nor a credit', () => {
    const last = CREDITS_AT + 7 * CREDIT_SLOT_BYTES
    // One byte in an empty slot after a gap, and one in the slot that would be next.
    refuses(() => decodePayment(changed(encoded, last, [1])), 'NOT_CANONICAL')
    refuses(() => decodePayment(changed(encoded, CREDITS_AT + 3 * CREDIT_SLOT_BYTES + 1, [255])), 'POINT_FLAGS')
    refuses(() => decodePayment(changed(encoded, CREDITS_AT, [24])), 'BAD_EXPONENT')
    refuses(() => encodePayment(withCredit({ exponent: 24 })), 'BAD_EXPONENT')
    refuses(() => encodePayment(withCredit({ secret: word('short').subarray(1) })), 'WRONG_LENGTH')
    // Both together are as long as they should be.
    const [one, two, ...rest] = payment.credits
    if (one === undefined || two === undefined) throw new Error('expected two credits')
    const shifted = [
      { ...one, secret: one.secret.subarray(1) },
      { ...two, secret: concatBytes(two.secret, Uint8Array.of(9)) },
    ]
    refuses(() => encodePayment({ ...payment, credits: [...shifted, ...rest] }), 'WRONG_LENGTH')
    refuses(() => encodePayment(withCredit({ signature: new Uint8Array(47) })), 'POINT_LENGTH')
    refuses(() => encodePayment(withCredit({ signature: flagged(0xc0) })), 'POINT_IDENTITY')
    refuses(() => encodePayment(withCredit({ signature: flagged(0x9f).fill(0xff, 1) })), 'POINT_NOT_CANONICAL')
  })

  it('is refused with a zero address', () => {
    const zero = `0x${'00'.repeat(20)}` as const
    refuses(() => encodePayment({ ...payment, enclave: zero }), 'ZERO_ADDRESS')
    refuses(() => encodePayment(withCredit({ exitKey: zero })), 'ZERO_ADDRESS')
  })

  it('is refused unless all its blanks are points and all differ', () => {
    const { blanks } = payment
    const [first = new Uint8Array()] = blanks
    refuses(() => encodePayment({ ...payment, blanks: blanks.slice(1) }), 'WRONG_LENGTH')
    refuses(() => encodePayment({ ...payment, blanks: [...blanks, first] }), 'WRONG_LENGTH')
    refuses(() => encodePayment({ ...payment, blanks: [...blanks.slice(0, BLANK_SLOTS - 1), first] }), 'BLANK_REPEATED')
    refuses(
      () => encodePayment({ ...payment, blanks: [...blanks.slice(0, BLANK_SLOTS - 1), new Uint8Array(48)] }),
      'POINT_FLAGS',
    )
    refuses(() => decodePayment(changed(encoded, BLANKS_AT, [0xc0])), 'POINT_IDENTITY')
  })

  it('is refused with a maximum fee of six bits, or above its credits', () => {
    refuses(() => encodePayment({ ...payment, maximumFee: 33n }), 'NOT_CANONICAL')
    refuses(() => encodePayment({ ...payment, maximumFee: 1_088n }), 'UNDERFUNDED')
    expect(encodePayment({ ...payment, maximumFee: 1_024n })).toHaveLength(PAYMENT_BYTES)
    expect(totalUnits([10, 3, 3])).toBe(1_040n)
  })
})

describe('an answer', () => {
  const secretKeys = Array.from({ length: 24 }, (_, i) => decodeUint(word(`key ${i}`).subarray(0, 31)))
  const keyset: Keyset = {
    chainId: 31_337,
    vault: `0x${'aa'.repeat(20)}`,
    keys: secretKeys.map(publicKeyOf),
    signUntil: 1,
    spendUntil: 2,
    exitUntil: 2 + EXIT_SECONDS_MIN,
  }
  const blinded = Array.from({ length: BLANK_SLOTS }, (_, i) => blindMessage(word(`message ${i}`), BigInt(i + 2)))
  const paid = { ...payment, blanks: blinded.map(encodeG1) }
  const change = answer(3n)
  const bytes = encodeChange(change)

  it('is 1,577 bytes and comes back as it went in, whatever it holds', () => {
    expect(CHANGE_BYTES).toBe(1_577)
    for (const fee of [0n, 1n, 3n, 16n, 992n]) {
      const original = answer(fee)
      expect(encodeChange(original)).toHaveLength(CHANGE_BYTES)
      expect(decodeChange(encodeChange(original))).toEqual(original)
    }
    expect(decodeChange(encodeChange({ fee: 1_024n, signatures: [] })).signatures).toEqual([])
  })

  it('that is right passes the wallet’s check', () => {
    for (const fee of [0n, 3n, 992n]) expect(verifyChange(paid, answer(fee), keyset, random)).toEqual({ ok: true })
  })

  it('that captures more than the maximum does not', () => {
    expect(verifyChange(paid, { fee: 1_024n, signatures: sign([4]) }, keyset, random)).toEqual({
      ok: false,
      code: 'FEE_TOO_HIGH',
    })
  })

  it('that holds back a credit, or gives one too many, does not', () => {
    const { fee, signatures } = change
    for (const wrong of [signatures.slice(1), signatures.slice(0, -1), sign([10, 3, 2])]) {
      expect(verifyChange(paid, { fee, signatures: wrong }, keyset, random)).toEqual({
        ok: false,
        code: 'WRONG_AMOUNT',
      })
    }
  })

  it('with a signature of another key, another blank or no point does not', () => {
    const [first] = change.signatures
    if (first === undefined) throw new Error('expected a signature')
    const swapped = (blindSignature: Uint8Array): Change => ({
      ...change,
      signatures: [{ ...first, blindSignature }, ...change.signatures.slice(1)],
    })
    const [blank] = blinded
    if (blank === undefined) throw new Error('expected a blank')
    const wrong = [
      encodeG1(signBlinded(blank, secretKeys[0] ?? 1n)),
      encodeG1(signBlinded(hashToG1(word('elsewhere')), secretKeys[first.exponent] ?? 1n)),
      flagged(0x80),
    ]
    for (const signature of wrong) {
      expect(verifyChange(paid, swapped(signature), keyset, random)).toEqual({ ok: false, code: 'BAD_SIGNATURE' })
    }
    // Without random numbers nothing is known of it.
    const broken = () => {
      throw new Error('no random numbers')
    }
    expect(() => verifyChange(paid, change, keyset, broken)).toThrow('no random numbers')
  })

  it('is refused at every other length and under another version', () => {
    for (let length = 0; length < CHANGE_BYTES; length++) {
      refuses(() => decodeChange(bytes.subarray(0, length)), 'WRONG_LENGTH')
    }
    refuses(() => decodeChange(concatBytes(bytes, Uint8Array.of(0))), 'WRONG_LENGTH')
    refuses(() => decodeChange(changed(bytes, 0, [2])), 'WRONG_VERSION')
    refuses(
      () => encodeChange({ fee: 3n, signatures: sign(Array.from({ length: BLANK_SLOTS + 1 }, () => 23)) }),
      'WRONG_LENGTH',
    )
  })

  it('with any one bit flipped is refused, or is another answer', () => {
    for (let bit = 0; bit < 8 * CHANGE_BYTES; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const decoded = attempt(() => decodeChange(flipped))
      if (decoded !== undefined && toHex(encodeChange(decoded)) !== toHex(flipped)) {
        throw new Error(`bit ${bit} makes a second encoding of one answer`)
      }
    }
  })

  it('is refused when the amount is split in more credits than it takes, or out of order', () => {
    refuses(() => encodeChange({ fee: 3n, signatures: sign([3, 3]) }), 'NOT_CANONICAL')
    refuses(() => encodeChange({ fee: 3n, signatures: sign([3, 4]) }), 'NOT_CANONICAL')
    refuses(() => encodeChange({ fee: 3n, signatures: sign([24]) }), 'BAD_EXPONENT')
    expect(decodeChange(encodeChange({ fee: 3n, signatures: sign([23, 23, 0]) })).signatures).toHaveLength(3)
  })

  it('is refused with a fee of six bits, a gap, or what cannot be a point', () => {
    refuses(() => encodeChange({ fee: 33n, signatures: [] }), 'NOT_CANONICAL')
    refuses(
      () =>
        decodeChange(
          changed(
            bytes,
            9,
            Array.from({ length: 49 }, () => 0),
          ),
        ),
      'NOT_CANONICAL',
    )
    refuses(
      () => encodeChange({ fee: 3n, signatures: [{ exponent: 3, blindSignature: flagged(0x00).fill(1, 1) }] }),
      'POINT_FLAGS',
    )
    refuses(() => decodeChange(changed(encodeChange({ fee: 3n, signatures: [] }), 9, [5])), 'POINT_FLAGS')
    refuses(() => decodeChange(changed(bytes, 9, [24])), 'BAD_EXPONENT')
  })

  function answer(fee: bigint): Change {
    return { fee, signatures: sign(splitChange([10, 3, 3], fee)) }
  }

  function sign(exponents: readonly number[]): Change['signatures'] {
    return exponents.map((exponent, i) => {
      const blank = blinded[i % BLANK_SLOTS] ?? hashToG1(word('none'))
      return { exponent, blindSignature: encodeG1(signBlinded(blank, secretKeys[exponent] ?? 1n)) }
    })
  }
})

it('leaves it to the reader of a point whether it is on the curve', () => {
  const off = flagged(0x80)
  off[47] = 1
  expect(decodePayment(encodePayment(withCredit({ signature: off }))).credits.some((c) => c.signature[47] === 1)).toBe(
    true,
  )
  refuses(() => decodeG1(off), 'POINT_NOT_ON_CURVE')
})

function paymentOf(exponents: readonly number[], maximumFee: bigint): Payment {
  return {
    keyset: toHex(word('keyset')),
    enclave: toHex(word('enclave').subarray(12)),
    maximumFee,
    credits: exponents.map((exponent, i) => ({
      exponent,
      secret: word(`secret ${i}`),
      exitKey: toHex(word(`exit key ${i}`).subarray(12)),
      signature: points[i] ?? new Uint8Array(48),
    })),
    blanks: points.slice(0, BLANK_SLOTS),
  }
}

function withCredit(part: Partial<Payment['credits'][number]>): Payment {
  return { ...payment, credits: payment.credits.map((credit, i) => (i === 0 ? { ...credit, ...part } : credit)) }
}

function sorted(credits: Payment['credits']): Payment['credits'] {
  return credits.toSorted((a, b) => (toHex(a.secret) < toHex(b.secret) ? -1 : 1))
}

function changed(bytes: Uint8Array, offset: number, part: readonly number[]): Uint8Array {
  const copy = bytes.slice()
  copy.set(part, offset)
  return copy
}

function flagged(first: number): Uint8Array {
  return changed(new Uint8Array(48), 0, [first])
}

function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch {
    return undefined
  }
}

let state = word('randomness')
function random(length: number): Uint8Array {
  state = keccak256(state)
  return state.slice(0, length)
}

function word(label: string): Uint8Array {
  return keccak256(encodeUtf8(label))
}

function refuses(call: () => unknown, code: CreditErrorCode): void {
  expect(call).toThrow(expect.objectContaining({ name: 'CreditError', code }))
}
