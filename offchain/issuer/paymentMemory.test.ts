/** What is remembered of payments, and when it is forgotten. @module */
import { expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { PaymentMemory, type SealChange } from './paymentMemory.ts'

const CHANGE = { fee: 1n, signatures: [] }
const seal: SealChange = async () => new Uint8Array()
const paymentId = (i: number): Hex => `0x${i.toString(16).padStart(64, '0')}`

it('holds the sealers of 100,000 payments, and forgets the oldest for one more', () => {
  const memory = new PaymentMemory()
  for (let i = 0; i < 100_000; i++) memory.noteSealer(paymentId(i), seal)
  expect(memory.sealer(paymentId(0))).toBe(seal)
  memory.noteSealer(paymentId(100_000), seal)
  expect([0, 1, 100_000].map((i) => memory.sealer(paymentId(i)))).toEqual([undefined, seal, seal])
})

it('takes a payment that is sealed anew for its newest', () => {
  const memory = new PaymentMemory({ sealersMax: 2, changeSeconds: 600 })
  for (const i of [1, 2, 1, 3]) memory.noteSealer(paymentId(i), seal)
  expect([1, 2, 3].map((i) => memory.sealer(paymentId(i)))).toEqual([seal, undefined, seal])
})

it('keeps change and sealer of a captured payment for less than 600 seconds', () => {
  const memory = new PaymentMemory()
  memory.noteBlanks(paymentId(1), [])
  memory.noteSealer(paymentId(1), seal)
  memory.noteCaptured(paymentId(1), CHANGE, 1_000)
  expect(memory.blanks(paymentId(1))).toBeUndefined()
  memory.sweep(1_599.9)
  expect([memory.change(paymentId(1)), memory.sealer(paymentId(1))]).toEqual([CHANGE, seal])
  memory.sweep(1_600)
  expect([memory.change(paymentId(1)), memory.sealer(paymentId(1))]).toEqual([undefined, undefined])
})
