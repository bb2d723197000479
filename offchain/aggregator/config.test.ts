import * as v from 'valibot'
import { expect, test } from 'vitest'
import { AggregatorConfigSchema, SETTLE_POLICY } from './config.ts'

const minimal = {
  listen: { host: '127.0.0.1', port: 8080 },
  rpcUrls: ['http://127.0.0.1:8545'],
  deployment: { chainId: 31_337, registry: `0x${'01'.repeat(20)}`, settlement: `0x${'02'.repeat(20)}` },
  accountKeyFiles: ['settler.key'],
  database: { folder: 'data', port: 5433 },
}

test('fills in policy and limits', () => {
  const config = v.parse(AggregatorConfigSchema, minimal)
  expect(config.settle).toEqual(SETTLE_POLICY)
  // Of the body: 1,048,576 leaves in base64, and 4,096 characters for all else.
  expect(config.limits).toEqual({ bodyBytesMax: 44_743_340, openBytesMax: 67_108_864, cachedLeavesMax: 524_288 })
  expect(config.deployment.fromBlock).toBe(0n)
})

test('takes a whole deployment file as the deployment', () => {
  const deployment = { ...minimal.deployment, vault: `0x${'03'.repeat(20)}`, fromBlock: '12' }
  expect(v.parse(AggregatorConfigSchema, { ...minimal, deployment }).deployment).toEqual({
    ...minimal.deployment,
    fromBlock: 12n,
  })
})

test.each([
  ['more heads than the contract takes', { settle: { headsMax: 257 } }],
  ['more gas than a call may use', { settle: { gasMax: 12_000_001 } }],
  ['no database', { database: {} }],
  ['an address that is none', { deployment: { ...minimal.deployment, settlement: '0x02' } }],
])('refuses %s', (_what, change) => {
  expect(v.safeParse(AggregatorConfigSchema, { ...minimal, ...change }).success).toBe(false)
})
