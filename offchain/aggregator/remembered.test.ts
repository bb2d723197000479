/** What is remembered of the chain, and when it is doubted. Lifetimes are in standing.test.ts. @module */
import { expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { remember } from './remembered.ts'

const KEY: Hex = '0x01'

function setUp() {
  const world = { value: 'first', now: 0, reads: 0 }
  const read = async () => {
    world.reads++
    return world.value
  }
  const readRemembered = remember(
    read,
    () => true,
    () => world.now,
  )
  return { world, ask: readRemembered, doubt: () => readRemembered(KEY, { isDoubted: true }) }
}

it('asks again for what is doubted, and remembers the answer for everybody', async () => {
  const { world, ask, doubt } = setUp()
  expect(await ask(KEY)).toBe('first')
  world.value = 'second'
  world.now = 2_000
  expect(await ask(KEY)).toBe('first')
  expect(await doubt()).toBe('second')
  expect(await ask(KEY)).toBe('second')
  expect(world.reads).toBe(2)
})

it('does not ask more often than every two seconds, however often it is doubted', async () => {
  const { world, doubt } = setUp()
  for (world.now = 0; world.now < 10_000; world.now += 100) await doubt()
  expect(world.reads).toBe(5)
})

it('remembers 10,000 answers, and forgets the oldest for one more', async () => {
  let reads = 0
  const ask = remember(
    async () => ++reads,
    () => true,
    () => 0,
  )
  const key = (i: number): Hex => `0x${i.toString(16)}`
  for (let i = 0; i < 10_000; i++) await ask(key(i))
  expect(await ask(key(0))).toBe(1)
  await ask(key(10_000))
  expect(await ask(key(1))).toBe(2)
  expect(await ask(key(0))).toBe(10_002)
})
