/** Sealing keys through several generations: what is served, what still opens, and what the untrusted host cannot do. @module */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { openRequest, sealRequest } from '#protocol/sealing/ohttp.ts'
import { KEM_X_WING, KEM_X25519 } from '#protocol/sealing/suite.ts'
import { SealingKeys } from './sealingKeys.ts'

const suites = createNodeSuites()
const OVERLAP_SECONDS = 60

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function configOf(keys: SealingKeys) {
  const [config] = parseKeyConfigList(keys.document)
  if (config === undefined) throw new Error('expected a key')
  return config
}

async function rotate(keys: SealingKeys): Promise<void> {
  await keys.use(await keys.next())
}

describe('a rotation', () => {
  it('changes nothing before the next keys are used', async () => {
    const keys = await SealingKeys.create(suites, OVERLAP_SECONDS)
    const [document, hash] = [keys.document, keys.hash]
    const next = await keys.next()
    expect(next).not.toBe(hash)
    expect([keys.document, keys.hash]).toEqual([document, hash])
    expect(await Promise.all([keys.next(), keys.next()])).toEqual([next, next])
  })

  it('opens requests sealed to either set until the overlap ends, and then to the new one alone', async () => {
    const keys = await SealingKeys.create(suites, OVERLAP_SECONDS)
    const old = configOf(keys)
    await rotate(keys)
    const fresh = configOf(keys)
    expect(parseKeyConfigList(keys.document).map(({ kemId }) => kemId)).toEqual([KEM_X_WING, KEM_X25519])
    const seal = async (config: typeof old) => (await sealRequest(suites, config, Uint8Array.of(7))).encapsulated
    const open = async (config: typeof old) => (await openRequest(suites, keys.ring, await seal(config))).plaintext
    vi.advanceTimersByTime(OVERLAP_SECONDS * 1000 - 1)
    expect([await open(old), await open(fresh)]).toEqual([Uint8Array.of(7), Uint8Array.of(7)])
    vi.advanceTimersByTime(1)
    await expect(open(old)).rejects.toMatchObject({ code: 'UNKNOWN_KEY' })
    expect(await open(fresh)).toEqual(Uint8Array.of(7))
  })

  it('goes through all key identifiers and begins again', async () => {
    const keys = await SealingKeys.create(suites, OVERLAP_SECONDS)
    const seen: number[] = []
    for (let i = 0; i < 130; i++) {
      seen.push(...parseKeyConfigList(keys.document).map(({ keyId }) => keyId))
      await rotate(keys)
      vi.advanceTimersByTime(OVERLAP_SECONDS * 1000)
    }
    expect(seen).toEqual(Array.from({ length: 260 }, (_, i) => i % 256))
    expect(keys.ring.configs()).toHaveLength(2)
  })
})

describe('the host cannot', () => {
  it('have further keys made while old ones still open', async () => {
    const keys = await SealingKeys.create(suites, OVERLAP_SECONDS)
    await rotate(keys)
    await expect(keys.next()).rejects.toMatchObject({ code: 'TOO_SOON' })
    vi.advanceTimersByTime(OVERLAP_SECONDS * 1000)
    expect(await keys.next()).toMatch(/^0x[0-9a-f]{64}$/)
  })

  it('have keys used that are not the next ones', async () => {
    const keys = await SealingKeys.create(suites, OVERLAP_SECONDS)
    const first = keys.hash
    await expect(keys.use(`0x${'11'.repeat(32)}`)).rejects.toMatchObject({ code: 'UNKNOWN_KEYS' })
    await rotate(keys)
    await expect(keys.use(first)).rejects.toMatchObject({ code: 'UNKNOWN_KEYS' })
  })

  it('do anything by saying twice that the next keys are live', async () => {
    const keys = await SealingKeys.create(suites, OVERLAP_SECONDS)
    const next = await keys.next()
    await Promise.all([keys.use(next), keys.use(next)])
    expect(keys.hash).toBe(next)
    expect(keys.ring.configs()).toHaveLength(4)
  })
})
