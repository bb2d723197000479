/** Where the explorer reads from: the file, the fragment, and what neither may say. @module */
import { expect, it } from 'vitest'
import { toJson, WireError } from '#protocol/wire/json.ts'
import { parseConfig, replacedBy } from './config.ts'

const address = (byte: string) => `0x${byte.repeat(20)}`
const DEPLOYMENT = {
  chainId: 31_337,
  registry: address('01'),
  settlement: address('02'),
  verifier: address('03'),
  fromBlock: '7',
}
const FILE = {
  rpcUrl: 'http://chain.test/',
  aggregatorUrl: 'https://aggregator.test/',
  deployment: { ...DEPLOYMENT, vault: address('04') },
}
const NOTHING = new URLSearchParams()

it('reads explorer.json, with a whole deployment file in it', () => {
  expect(parseConfig(toJson(FILE), NOTHING)).toEqual({
    rpcUrl: FILE.rpcUrl,
    aggregatorUrl: FILE.aggregatorUrl,
    deployment: { ...DEPLOYMENT, fromBlock: 7n },
  })
})

it('lets the fragment replace single sources, and says which', () => {
  const overrides = new URLSearchParams({ rpc: 'https://other.test/', relay: 'https://relay.test/', unknown: 'x' })
  expect(parseConfig(toJson(FILE), overrides)).toMatchObject({
    rpcUrl: 'https://other.test/',
    aggregatorUrl: FILE.aggregatorUrl,
    relayUrl: 'https://relay.test/',
  })
  expect(replacedBy(overrides)).toEqual(['rpc', 'relay'])
  expect(replacedBy(new URLSearchParams({ rpc: '' }))).toEqual([])
})

it('needs no file where the fragment says everything', () => {
  const overrides = new URLSearchParams({
    rpc: FILE.rpcUrl,
    aggregator: FILE.aggregatorUrl,
    deployment: toJson(DEPLOYMENT),
  })
  expect(parseConfig(undefined, overrides).deployment.fromBlock).toBe(7n)
})

it('takes addresses of 2,048 characters and none with one more', () => {
  const ofLength = (length: number) => 'https://chain.test/'.padEnd(length, 'x')
  const parse = (rpc: string) => parseConfig(toJson(FILE), new URLSearchParams({ rpc }))
  expect(parse(ofLength(2_048)).rpcUrl).toBe(ofLength(2_048))
  expect(() => parse(ofLength(2_049))).toThrow(/rpcUrl/)
})

it.each([
  ['no file and nothing in the fragment', undefined, {}, /say here where to read from/],
  ['a file that is no JSON', '{', {}, /explorer\.json/],
  ['a missing deployment', toJson({ ...FILE, deployment: undefined }), {}, /deployment/],
  ['a deployment that is no JSON', toJson(FILE), { deployment: 'x' }, /the deployment/],
  ['an address of another scheme', toJson(FILE), { rpc: 'javascript:alert(1)' }, /rpcUrl/],
  ['an address that is none', toJson(FILE), { aggregator: 'aggregator' }, /aggregatorUrl/],
])('refuses %s', (_, file, overrides, message) => {
  const parse = () => parseConfig(file, new URLSearchParams(overrides as Record<string, string>))
  expect(parse).toThrow(WireError)
  expect(parse).toThrow(message)
})
