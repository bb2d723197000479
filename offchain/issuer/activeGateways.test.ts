import { expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { ActiveGateways } from './activeGateways.ts'

const gateway = (i: number): Hex => `0x${i.toString(16).padStart(40, '0')}`

it('remembers 10,000 gateways, and forgets the one noted longest ago for one more', () => {
  const active = new ActiveGateways(() => 0)
  for (let i = 0; i < 10_000; i++) active.note(gateway(i))
  expect(active.has(gateway(0))).toBe(true)
  active.note(gateway(0))
  active.note(gateway(10_000))
  expect([0, 1, 2, 10_000].map((i) => active.has(gateway(i)))).toEqual([true, false, true, true])
})

it('takes a gateway for active for less than a minute, and not once it is forgotten', () => {
  let nowMs = 0
  const active = new ActiveGateways(() => nowMs)
  active.note(gateway(1))
  active.note(gateway(2))
  active.forget(gateway(2))
  nowMs = 59_999
  expect([1, 2].map((i) => active.has(gateway(i)))).toEqual([true, false])
  nowMs = 60_000
  expect(active.has(gateway(1))).toBe(false)
})
