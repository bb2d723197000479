/** Counting by address, and forgetting. Time is the test's own but for the one timer that rotates by itself. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type AddressBounds, AddressLimits, type Admission } from './addressLimits.ts'

const A = '192.0.2.7'
const B = '2001:db8:1:2::/64'

function limitsOf(bounds: Partial<AddressBounds>): { limits: AddressLimits; clock: { ms: number } } {
  const clock = { ms: 1_000 }
  const all = {
    openRequestsPerAddressMax: 1_000,
    requestsPerMinute: 1_000,
    addressMemoryMs: 600_000,
    addressesMax: 1_000,
  }
  return { limits: new AddressLimits({ ...all, ...bounds }, () => clock.ms), clock }
}

function release(admission: Admission): void {
  if (!admission.ok) throw new Error('expected to be admitted')
  admission.release()
}

test('admits so many requests a minute, at once or spread, and says when to come again', () => {
  const { limits, clock } = limitsOf({ requestsPerMinute: 6 })
  for (let i = 0; i < 6; i++) release(limits.admit(A))
  expect(limits.admit(A)).toEqual({ ok: false, retryAfterSeconds: 10 })
  // Another address has a count of its own.
  release(limits.admit(B))
  clock.ms += 4_000
  expect(limits.admit(A)).toEqual({ ok: false, retryAfterSeconds: 6 })
  clock.ms += 6_000
  release(limits.admit(A))
  expect(limits.admit(A).ok).toBe(false)
  clock.ms += 3_600_000
  for (let i = 0; i < 6; i++) release(limits.admit(A))
  expect(limits.admit(A).ok).toBe(false)
})

test('admits so many requests at once, and the next when one has ended', () => {
  const { limits } = limitsOf({ openRequestsPerAddressMax: 2 })
  const first = limits.admit(A)
  const second = limits.admit(A)
  expect(limits.admit(A)).toEqual({ ok: false, retryAfterSeconds: 5 })
  release(limits.admit(B))
  release(first)
  // Ending twice frees one place.
  release(first)
  const third = limits.admit(A)
  expect([second.ok, third.ok, limits.admit(A).ok]).toEqual([true, true, false])
})

test('takes nothing of the rate for what is refused because too much is open', () => {
  const { limits } = limitsOf({ openRequestsPerAddressMax: 1, requestsPerMinute: 2 })
  const open = limits.admit(A)
  for (let i = 0; i < 10; i++) expect(limits.admit(A).ok).toBe(false)
  release(open)
  expect(limits.admit(A).ok).toBe(true)
})

test('forgets addresses with the salt', () => {
  const { limits } = limitsOf({ requestsPerMinute: 1 })
  release(limits.admit(A))
  release(limits.admit(B))
  expect([limits.size, limits.admit(A).ok]).toEqual([2, false])
  limits.rotate()
  expect(limits.size).toBe(0)
  expect(limits.admit(A).ok).toBe(true)
})

test('forgets by itself, and arms nothing while there is nothing to forget', async () => {
  const { limits } = limitsOf({ addressMemoryMs: 20 })
  release(limits.admit(A))
  expect(limits.size).toBe(1)
  while (limits.size > 0) await sleep(1)
  release(limits.admit(A))
  expect(limits.size).toBe(1)
  while (limits.size > 0) await sleep(1)
})

test('keeps counting what is open across salts, and only that', () => {
  const { limits } = limitsOf({ openRequestsPerAddressMax: 2 })
  const first = limits.admit(A)
  release(limits.admit(B))
  limits.rotate()
  expect(limits.size).toBe(1)
  const second = limits.admit(A)
  limits.rotate()
  expect(limits.admit(A).ok).toBe(false)
  release(first)
  const third = limits.admit(A)
  expect([third.ok, limits.admit(A).ok]).toEqual([true, false])
  release(second)
  release(third)
  limits.rotate()
  expect(limits.size).toBe(0)
})

test('counts a bounded number of addresses, forgetting the longest known', () => {
  const { limits } = limitsOf({ addressesMax: 3, requestsPerMinute: 1 })
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']) release(limits.admit(address))
  expect(limits.size).toBe(3)
  expect(limits.admit('192.0.2.4').ok).toBe(false)
  expect(limits.admit('192.0.2.1').ok).toBe(true)
  for (let i = 0; i < 1_000; i++) limits.admit(`198.51.100.${i}`)
  expect(limits.size).toBe(3)
})
