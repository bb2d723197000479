import { expect, test } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { rememberStanding, type Standing } from './standing.ts'

const enclave: Hex = `0x${'11'.repeat(20)}`

function setUp() {
  const world: { standing: Standing | Error; now: number; reads: number } = { standing: 'unknown', now: 0, reads: 0 }
  const read = async () => {
    world.reads++
    if (world.standing instanceof Error) throw world.standing
    return world.standing
  }
  return { world, standingOf: rememberStanding(read, () => world.now) }
}

test('asks for an unknown enclave again soon, for a gateway after a minute', async () => {
  const { world, standingOf } = setUp()
  expect(await standingOf(enclave)).toBe('unknown')
  world.standing = 'gateway'
  world.now = 1_000
  expect(await standingOf(enclave)).toBe('unknown')
  world.now = 3_000
  expect(await standingOf(enclave)).toBe('gateway')
  world.standing = 'ended'
  world.now = 62_999
  expect(await standingOf(enclave)).toBe('gateway')
  world.now = 63_000
  expect(await standingOf(enclave)).toBe('ended')
  expect(world.reads).toBe(3)
})

test.each(['gateway', 'issuer'] as const)('takes a known %s for one while the chain does not answer', async (role) => {
  const { world, standingOf } = setUp()
  world.standing = role
  await standingOf(enclave)
  world.standing = new Error('no answer')
  world.now = 100_000
  expect(await standingOf(enclave)).toBe(role)
})

test('does not say of an enclave that ended that it stands', async () => {
  const { world, standingOf } = setUp()
  world.standing = 'ended'
  await standingOf(enclave)
  world.standing = new Error('no answer')
  world.now = 100_000
  await expect(standingOf(enclave)).rejects.toThrow('no answer')
})

test('says that it cannot say for an enclave it has never met', async () => {
  const { world, standingOf } = setUp()
  world.standing = new Error('no answer')
  await expect(standingOf(enclave)).rejects.toThrow('no answer')
})
