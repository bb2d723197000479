/** `sealpath init`: what it asks, what it writes, and that every role reads what was written for it. @module */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { privateKeyToAccount } from 'viem/accounts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { readConfig } from '#node/role.ts'
import type { Hex } from '#protocol/bytes.ts'
import { GatewayConfigSchema } from '../../../gateway/config.ts'
import { AggregatorConfigSchema } from '../../aggregator/config.ts'
import { IssuerConfigSchema } from '../../issuer/config.ts'
import { OperatorConfigSchema } from '../../operator/config.ts'
import { RelayConfigSchema } from '../../relay/config.ts'
import { init } from '../commands/init.ts'

const CLI = fileURLToPath(new URL('../main.ts', import.meta.url))
const address = (byte: string): Hex => `0x${byte.repeat(20)}`
const DEPLOYMENT = {
  chainId: 31_337,
  registry: address('a1'),
  settlement: address('a2'),
  vault: address('a3'),
  token: address('a4'),
  inference: address('a5'),
  bounty: address('a6'),
  timelock: address('a7'),
  verifier: address('a8'),
  fromBlock: '7',
}
const BASE = { ...DEPLOYMENT, chainId: 8_453 }

let folder: string
let output: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-init-'))
  writeFileSync(join(folder, 'deployment.json'), JSON.stringify(DEPLOYMENT))
  writeFileSync(join(folder, 'base.json'), JSON.stringify(BASE))
  output = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    output += String(text)
    return true
  })
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
})

const at = (...path: string[]): string => join(folder, ...path)
const run = (role: string, answers: Readonly<Record<string, string>>): Promise<number> =>
  init.run([
    role,
    '--defaults',
    ...['--folder', at(role)],
    // On 127.0.0.1 the usual answer is plain HTTP.
    ...('listen' in answers ? [] : ['--set', 'listen=127.0.0.1:8443']),
    ...Object.entries(answers).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ])
const chain = () => ({ deployment: at('deployment.json'), rpc: 'http://127.0.0.1:8545' })

describe('a configuration that was written', () => {
  it('of a gateway is read by gateway and operator agent, who have one account', async () => {
    const answers = { ...chain(), aggregators: 'http://a.test:1,http://b.test:2', issuers: 'http://issuer.test' }
    expect(await run('gateway', answers)).toBe(0)
    const gateway = readConfig(GatewayConfigSchema, at('gateway', 'gateway.json'))
    const operator = readConfig(OperatorConfigSchema, at('gateway', 'operator.json'))
    const key = readFileSync(operator.accountKeyFile, 'utf8').trim() as Hex
    expect(gateway.chain).toEqual({
      chainId: 31_337,
      registry: DEPLOYMENT.registry,
      settlement: DEPLOYMENT.settlement,
      operator: privateKeyToAccount(key).address.toLowerCase(),
    })
    expect(gateway.issuer).toEqual({ urls: ['http://issuer.test'], vault: DEPLOYMENT.vault })
    expect(gateway.prices.models.map(({ model }) => model)).toEqual(['sealpath-demo-1m'])
    expect(operator.gatewayAgentUrl).toBe('http://127.0.0.1:8444')
    expect(operator.aggregators).toEqual(['http://a.test:1', 'http://b.test:2'])
    expect(statSync(operator.accountKeyFile).mode & 0o077).toBe(0)
    expect(output).toContain(`sealpath gateway --config ${at('gateway', 'gateway.json')}`)
    expect(output).not.toContain(key)
  })

  it('of a gateway before a model server names the server, its models and what they cost', async () => {
    const server = { 'model-server': 'https://models.test/v1', 'server-kind': 'vllm', models: 'one, two' }
    await run('gateway', { ...chain(), ...server, aggregators: 'http://a.test', 'price-request': '7' })
    const { backends, prices } = readConfig(GatewayConfigSchema, at('gateway', 'gateway.json'))
    expect(backends).toEqual([
      {
        kind: 'openai',
        url: 'https://models.test/v1',
        server: 'vllm',
        source: 'proxied',
        models: [{ name: 'one' }, { name: 'two' }],
      },
    ])
    expect(prices.models).toMatchObject([
      { model: 'one', source: 'proxied', requestUnits: 7n },
      { model: 'two', source: 'proxied', requestUnits: 7n },
    ])
  })

  it('of a gateway says from which amount the agent draws by itself, and where its page is', async () => {
    await run('gateway', {
      ...chain(),
      aggregators: 'http://a.test',
      'payout-minimum': '2.5',
      'page-listen': '127.0.0.1:9',
    })
    const operator = readConfig(OperatorConfigSchema, at('gateway', 'operator.json'))
    expect(operator.payouts).toEqual({ unitsMin: 2_500_000n })
    expect(operator.page).toMatchObject({ host: '127.0.0.1', port: 9 })
    const odd = { ...chain(), aggregators: 'http://a.test', 'payout-minimum': 'much' }
    await expect(run('gateway', odd)).rejects.toThrow(/an amount like 1 or 2.5 OPG/)
  })

  it('of a gateway before a model server of its own has the digests of what it measures', async () => {
    writeFileSync(at('weights.bin'), 'weights')
    const server = { 'model-server': 'http://127.0.0.1:1/v1', 'server-kind': 'vllm', models: 'one', source: 'measured' }
    await run('gateway', { ...chain(), ...server, aggregators: 'http://a.test', 'measured-files': at('weights.bin') })
    const { backends } = readConfig(GatewayConfigSchema, at('gateway', 'gateway.json'))
    const sha256 = createHash('sha256').update('weights').digest('hex')
    expect(JSON.stringify(backends)).toContain(sha256)
  })

  it('of a relay, an aggregator and an issuer is read by them', async () => {
    await run('relay', { operator: 'relay.test', gateways: 'one=http://127.0.0.1:1,two=http://127.0.0.1:2' })
    expect(readConfig(RelayConfigSchema, at('relay', 'relay.json')).gateways).toHaveLength(2)
    await run('aggregator', { ...chain(), database: 'postgres://db.test/sealpath' })
    const aggregator = readConfig(AggregatorConfigSchema, at('aggregator', 'aggregator.json'))
    expect(aggregator).toMatchObject({
      database: { url: 'postgres://db.test/sealpath' },
      deployment: { fromBlock: 7n },
    })
    const rpc = 'http://one.test,http://two.test'
    await run('issuer', { ...chain(), rpc, witnesses: 'http://a.test,http://b.test,http://c.test' })
    const issuer = readConfig(IssuerConfigSchema, at('issuer', 'issuer.json'))
    expect(issuer).toMatchObject({ witnesses: { quorum: 2 }, database: { folder: at('issuer', 'database') } })
    expect(issuer.chain).toMatchObject({ vault: DEPLOYMENT.vault, fromBlock: 7n })
    expect(readConfig(OperatorConfigSchema, at('issuer', 'operator.json')).deposits?.vault).toBe(DEPLOYMENT.vault)
  })

  it('has TLS wherever others come from other machines, and says what is left to do for it', async () => {
    await run('gateway', { ...chain(), listen: '0.0.0.0:8443', aggregators: 'https://a.test' })
    const tls = { certificateFile: at('gateway', 'tls.crt'), keyFile: at('gateway', 'tls.key') }
    const read = () => readConfig(GatewayConfigSchema, at('gateway', 'gateway.json'))
    expect(read).toThrow(`listen.tls.keyFile: there is no file ${tls.keyFile}`)
    expect(output).toContain(`put the certificate with its chain into ${tls.certificateFile}`)
    expect(output).not.toContain('plain HTTP')
    for (const file of Object.values(tls)) writeFileSync(file, '')
    expect(read().listen).toEqual({ host: '0.0.0.0', port: 8_443, tls })
  })

  it('says where it speaks plain HTTP to other machines', async () => {
    const answers = { operator: 'relay.test', gateways: 'one=http://10.0.0.1:1,two=https://two.test' }
    writeFileSync(at('ca.crt'), '')
    await run('relay', { ...answers, listen: '0.0.0.0:80', tls: 'none', 'gateway-ca': at('ca.crt') })
    expect(output).toContain('0.0.0.0:80 speaks plain HTTP to other machines')
    expect(output).toContain('http://10.0.0.1:1 is plain HTTP')
    expect(readConfig(RelayConfigSchema, at('relay', 'relay.json')).gateways).toEqual([
      { name: 'one', url: 'http://10.0.0.1:1' },
      { name: 'two', url: 'https://two.test', caFile: at('ca.crt') },
    ])
    rmSync(at('relay'), { recursive: true })
    // Where a terminator states the client, there is one.
    await run('relay', { ...answers, listen: '0.0.0.0:80', 'client-address-header': 'x-forwarded-for' })
    expect(readConfig(RelayConfigSchema, at('relay', 'relay.json')).listen).toEqual({ host: '0.0.0.0', port: 80 })
  })

  it('is not written over, and nothing else is written then', async () => {
    const answers = { operator: 'relay.test', gateways: 'one=http://127.0.0.1:1' }
    await run('relay', answers)
    const before = readFileSync(at('relay', 'relay.json'), 'utf8')
    await expect(run('relay', { ...answers, operator: 'other.test' })).rejects.toThrow('is there already')
    expect(readFileSync(at('relay', 'relay.json'), 'utf8')).toBe(before)
    rmSync(at('relay'), { recursive: true })
  })

  it('takes an account that is there, and leaves its file alone', async () => {
    const key = `0x${'17'.repeat(32)}` as const
    writeFileSync(at('key'), key.slice(2))
    await run('aggregator', { ...chain(), 'settler-key-file': at('key') })
    expect(readConfig(AggregatorConfigSchema, at('aggregator', 'aggregator.json')).accountKeyFiles).toEqual([at('key')])
    expect(readFileSync(at('key'), 'utf8')).toBe(key.slice(2))
    expect(output).not.toContain('new settler account')
  })
})

describe('an answer that cannot be', () => {
  it.each([
    ['relay', { operator: 'x', gateways: 'one' }, '--set gateways: expected name=URL'],
    ['relay', { operator: 'x', gateways: 'a=http://h,a=http://i' }, '--set gateways: two gateways of one name'],
    ['relay', { operator: 'x', gateways: 'a=http://h', listen: '8080' }, '--set listen: expected host:port'],
    ['relay', { operator: 'x', gateways: 'a=http://h', lisen: 'h:1' }, 'nothing asks for --set lisen'],
    ['relay', { operator: 'x', gateways: 'a=http://h', tls: 'one.crt' }, '--set tls: expected two files'],
    ['relay', { operator: 'x', gateways: 'a=https://h', 'gateway-ca': 'nowhere.crt' }, 'there is no file'],
    ['aggregator', { database: 'postgres://a:b@db.test/c' }, '--set database: expected no password'],
    ['aggregator', { deployment: 'nowhere.json' }, '--set deployment: cannot read nowhere.json'],
    ['gateway', { 'operator-key-file': 'package.json' }, 'holds no private key'],
    ['issuer', { rpc: 'http://one.test' }, '--set rpc: expected 2 URLs at least'],
    ['issuer', { rpc: 'http://one.test,http://one.test' }, 'expected URLs that all differ'],
    ['issuer', { rpc: 'http://1,http://2', witnesses: 'http://a.test', quorum: '2' }, 'there are 1 witnesses'],
  ])('is refused with a sentence that names it, and nothing is written: %s %j', async (role, answers, sentence) => {
    const known = role === 'relay' ? {} : chain()
    await expect(run(role, { ...known, ...answers })).rejects.toThrow(sentence)
    expect(existsSync(at(role))).toBe(false)
  })

  it('is development evidence on a chain that is not local', async () => {
    const answers = { ...chain(), deployment: at('base.json'), attester: 'development' }
    await expect(run('gateway', answers)).rejects.toThrow('development evidence proves nothing there')
    await run('gateway', { ...chain(), deployment: at('base.json'), aggregators: 'http://a.test' })
    expect(readConfig(GatewayConfigSchema, at('gateway', 'gateway.json')).attester).toEqual({ kind: 'nitro' })
  })

  it('is asked for again in the terminal or the pipe, and the end of the input is said', async () => {
    const ask = async (lines: readonly string[]): Promise<{ code: unknown; said: string }> => {
      const args = ['--disable-warning=ExperimentalWarning', CLI, 'init', 'relay', '--folder', at('piped')]
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'pipe'] })
      let said = ''
      child.stderr?.on('data', (data: Buffer) => (said += data.toString()))
      child.stdin?.end(lines.map((line) => `${line}\n`).join(''))
      const [code] = (await once(child, 'close')) as [unknown]
      return { code, said }
    }
    const short = await ask(['', 'relay.test'])
    expect(short.code).toBe(2)
    expect(short.said).toContain('give it with --set gateways=')
    expect(existsSync(at('piped'))).toBe(false)
    const { code, said } = await ask(['nonsense', '127.0.0.1:0', 'relay.test', 'one=http://127.0.0.1:1', '', ''])
    expect(said).toContain('expected host:port')
    expect(code).toBe(0)
    expect(readConfig(RelayConfigSchema, at('piped', 'relay.json'))).toMatchObject({ operator: 'relay.test' })
  })
})
