/** Payments sealed to an issuer and change sealed back, under both KEMs. @module */
import { describe, expect, it } from 'vitest'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { encodeUint, encodeUtf8, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { openRequest, sealRequest } from '../sealing/ohttp.ts'
import { AEAD_AES_128_GCM, KDF_HKDF_SHA256, KEM_X_WING, KEM_X25519 } from '../sealing/suite.ts'
import { BLANK_SLOTS } from './amounts.ts'
import { CHANGE_BYTES } from './change.ts'
import { hashToG1 } from './message.ts'
import { encodePayment, PAYMENT_BYTES, type Payment, paymentId } from './payment.ts'
import { encodeG1 } from './points.ts'
import { openPayment, sealPayment } from './sealedPayment.ts'

const suites = createNodeSuites()
const point = (i: number) => encodeG1(hashToG1(keccak256(encodeUint(BigInt(i), 4))))
const payment: Payment = {
  keyset: `0x${'ab'.repeat(32)}`,
  enclave: `0x${'cd'.repeat(20)}`,
  maximumFee: 992n,
  credits: [{ exponent: 10, secret: keccak256(encodeUtf8('t')), exitKey: `0x${'ef'.repeat(20)}`, signature: point(0) }],
  blanks: Array.from({ length: BLANK_SLOTS }, (_, i) => point(i + 1)),
}
const change = { fee: 992n, signatures: [{ exponent: 5, blindSignature: point(99) }] }
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))

describe.each([
  ['X-Wing', KEM_X_WING],
  ['X25519', KEM_X25519],
])('under %s', (_, kemId) => {
  const issuer = async () => {
    const pair = await suites.generateKeyPair(kemId)
    const config = {
      keyId: 3,
      kemId,
      publicKey: pair.publicKey,
      suites: [{ kdfId: KDF_HKDF_SHA256, aeadId: AEAD_AES_128_GCM }],
    }
    return { config, keys: new Map([[3, { config, pair }]]) }
  }

  it('the issuer reads what the wallet sealed, and the wallet the change', async () => {
    const { config, keys } = await issuer()
    const sealed = await sealPayment(suites, config, payment)
    const opened = await openPayment(suites, keys, sealed.sealed)
    expect(opened.payment).toEqual(payment)
    expect(opened.id).toBe(sealed.id)
    expect(sealed.id).toBe(paymentId(encodePayment(payment)))
    const answer = await opened.sealChange(change, random)
    expect(await sealed.openChange(answer)).toEqual(change)
    // The same change again, after a retry: another nonce, still readable.
    const again = await opened.sealChange(change, random)
    expect(toHex(again)).not.toBe(toHex(answer))
    expect(await sealed.openChange(again)).toEqual(change)
  })

  it('both have one length, whatever they hold', async () => {
    const { config, keys } = await issuer()
    const small = await sealPayment(suites, config, { ...payment, maximumFee: 0n })
    const sealed = await sealPayment(suites, config, payment)
    expect(small.sealed.length).toBe(sealed.sealed.length)
    expect(sealed.sealed.length).toBeGreaterThan(PAYMENT_BYTES)
    const opened = await openPayment(suites, keys, sealed.sealed)
    const empty = await opened.sealChange({ fee: 1_024n, signatures: [] }, random)
    expect(empty.length).toBe((await opened.sealChange(change, random)).length)
    expect(empty.length).toBeGreaterThan(CHANGE_BYTES)
  })

  it('neither is an Oblivious HTTP message', async () => {
    const { config, keys } = await issuer()
    const { sealed } = await sealPayment(suites, config, payment)
    await expect(openRequest(suites, keys, sealed)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
    const { encapsulated } = await sealRequest(suites, config, encodePayment(payment))
    await expect(openPayment(suites, keys, encapsulated)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
  })

  it('what was changed on the way is refused', async () => {
    const { config, keys } = await issuer()
    const sealed = await sealPayment(suites, config, payment)
    const flipped = sealed.sealed.slice()
    flipped[flipped.length - 1] = (flipped[flipped.length - 1] ?? 0) ^ 1
    await expect(openPayment(suites, keys, flipped)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
    const opened = await openPayment(suites, keys, sealed.sealed)
    const answer = await opened.sealChange(change, random)
    const cut = answer.subarray(0, answer.length - 1)
    await expect(sealed.openChange(cut)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
    const { plaintext } = { plaintext: new Uint8Array(PAYMENT_BYTES) }
    const { encapsulated } = await sealRequest(suites, config, plaintext, {
      request: 'sealpath payment request',
      response: 'sealpath payment change',
    })
    await expect(openPayment(suites, keys, encapsulated)).rejects.toMatchObject({ name: 'CreditError' })
  })
})
