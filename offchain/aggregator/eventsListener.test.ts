/** How many follow the settlements, and how much waits for one of them, unless told otherwise. What they read: test/services/aggregatorEvents.test.ts. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createLogger } from '#node/log.ts'
import { SettlementFeed } from './events.ts'
import { FEED_LIMITS, Listener } from './eventsListener.ts'

test('256 listeners are let in and not one more', async () => {
  const feed = new SettlementFeed({
    watch: {
      readSnapshot: async () => ({ last: undefined, open: new Map() }),
      readNext: async () => [],
      listen: async () => ({ unlisten: async () => {} }),
    },
    settlement: { readBatch: async () => undefined },
    log: createLogger('aggregator', () => {}),
  })
  const open = () => feed.open({}, () => {})
  for (let i = 0; i < 256; i++) expect(await open()).toBeDefined()
  expect(await open()).toBeUndefined()
  expect(feed.listeners).toBe(256)
  await feed.close()
})

test.each([
  [262_143, true],
  [262_144, false],
])('more is written while %i bytes wait: %s', async (bytes, isWritten) => {
  const listener = new Listener(
    FEED_LIMITS,
    () => {},
    () => {},
  )
  await listener.write('x'.repeat(bytes))
  let hasWritten = false
  const writing = listener.write('y').then(() => {
    hasWritten = true
  })
  await sleep(1)
  expect(hasWritten).toBe(isWritten)
  listener.end()
  await writing
})
