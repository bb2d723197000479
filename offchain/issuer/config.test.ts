import { describe, expect, it } from 'vitest'
import { parseShape } from '#protocol/wire/json.ts'
import { IssuerConfigSchema } from './config.ts'

const address = (byte: string) => `0x${byte.repeat(20)}`
const config = {
  listen: { host: '127.0.0.1', port: 0 },
  agentListen: { host: '127.0.0.1', port: 0 },
  chain: {
    chainId: 31_337,
    registry: address('01'),
    settlement: address('02'),
    operator: address('03'),
    vault: address('04'),
    fromBlock: '7',
  },
  rpcUrls: ['http://one.test', 'http://two.test'],
  attester: { kind: 'nitro' },
  keys: { files: ['keyset.json'] },
  database: { folder: 'data', port: 5_432 },
  witnesses: { urls: ['http://a.test', 'http://b.test'], quorum: 2 },
}
const parse = (changes: object) => parseShape(IssuerConfigSchema, { ...config, ...changes }, 'configuration')

describe('a configuration', () => {
  it('is read with its defaults', () => {
    expect(parse({})).toEqual({
      ...config,
      chain: { ...config.chain, fromBlock: 7n },
      successors: [],
      keyOverlapSeconds: 3_600,
      reserve: { seconds: 300, renewedSecondsMax: 3_600 },
      limits: { openMax: 1_024, replaysMax: 1_000_000, dateWindowSeconds: 300, leaseSeconds: 20 },
    })
  })

  it.each([
    { generate: { signDays: 30, spendDays: 30, exitDays: 365 } },
    { from: ['http://issuer.test'] },
    { from: ['http://issuer.test'], predecessors: [`0x${'ab'.repeat(32)}`] },
    { files: ['keyset.json'], allowDevelopment: true },
  ])('takes its keys from %j', (keys) => {
    expect(parse({ keys }).keys).toEqual(keys)
  })

  it.each([
    ['exits of less than a year', { keys: { generate: { signDays: 30, spendDays: 30, exitDays: 364 } } }],
    ['a phase of no days', { keys: { generate: { signDays: 0, spendDays: 30, exitDays: 365 } } }],
    ['a phase of ages', { keys: { generate: { signDays: 36_501, spendDays: 30, exitDays: 365 } } }],
    ['nobody to be given keys by', { keys: { from: [] } }],
    ['a giver without an address', { keys: { from: ['issuer'] } }],
    ['two sources of keys', { keys: { files: ['keyset.json'], from: ['http://issuer.test'] } }],
    ['a successor that is no measurement', { successors: ['0x12'] }],
    ['one RPC endpoint only', { rpcUrls: ['http://one.test'] }],
    ['no keyset', { keys: { files: [] } }],
    ['no witness', { witnesses: { urls: [], quorum: 1 } }],
    ['a quorum of none', { witnesses: { urls: ['http://a.test'], quorum: 0 } }],
    ['a quorum above the witnesses', { witnesses: { urls: ['http://a.test'], quorum: 2 } }],
    ['one witness twice', { witnesses: { urls: ['http://a.test', 'http://a.test'], quorum: 2 } }],
    ['renewals that shorten', { reserve: { seconds: 10, renewedSecondsMax: 5 } }],
    ['no vault', { chain: { ...config.chain, vault: undefined } }],
  ])('with %s is refused', (_, changes) => {
    expect(() => parse(changes)).toThrow('configuration')
  })
})
