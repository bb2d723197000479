import { expect, it } from 'vitest'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { KEM_X_WING, KEM_X25519 } from '#protocol/sealing/suite.ts'
import { generateGatewayKey, KeyRing } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'

const suites = createNodeSuites()

it('offers its live keys in the order in which they were added', async () => {
  const ring = new KeyRing()
  const [xWing, x25519] = [
    await generateGatewayKey(suites, 7, KEM_X_WING),
    await generateGatewayKey(suites, 8, KEM_X25519),
  ]
  ring.add(xWing)
  ring.add(x25519)
  expect(parseKeyConfigList(ring.encode())).toEqual([xWing.config, x25519.config])
  expect(ring.get(8)).toBe(x25519)
  expect(x25519.config.suites).toEqual([
    { kdfId: 1, aeadId: 1 },
    { kdfId: 1, aeadId: 3 },
  ])
})

it('refuses a second live key of the same identifier and forgets a removed one', async () => {
  const ring = new KeyRing()
  const key = await generateGatewayKey(suites, 1, KEM_X25519)
  ring.add(key)
  expect(() => ring.add(key)).toThrow(RangeError)
  ring.remove(1)
  expect(ring.get(1)).toBeUndefined()
  expect(ring.encode()).toHaveLength(0)
  ring.add(key)
  expect(ring.get(1)).toBe(key)
})
