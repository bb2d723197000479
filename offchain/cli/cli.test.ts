/** The command line: what it says and with which code it ends. A few runs are real processes; the rest call the commands. @module */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ZERO_HASH } from '#protocol/receipt/receipt.ts'
import { serializeProofBundle, serializeReceiptFile } from '#protocol/wire/receiptFile.ts'
import { buildReceipt } from '../../test/support/builtReceipt.ts'
import { addressOf, readArguments, required, UsageError } from './command.ts'
import { chat } from './commands/chat.ts'
import { deploy } from './commands/deploy.ts'
import { roleCommand } from './commands/roles.ts'
import { verify } from './commands/verify.ts'
import { ROLE_NAMES } from './roleNames.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))

const GOOD = buildReceipt()
const { openings: _openings, ...WITHOUT_OPENINGS } = GOOD
const GOOD_FILE = save('good.json', serializeReceiptFile(GOOD))
const TAMPERED_FILE = save('tampered.json', serializeReceiptFile(GOOD).replace('"fee": "8"', '"fee": "9"'))

function save(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** Runs `sealpath` with these arguments as a process of its own. */
async function sealpath(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const main = fileURLToPath(new URL('main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [out, err] = ['', '']
  child.stdout.on('data', (data: Buffer) => {
    out += data
  })
  child.stderr.on('data', (data: Buffer) => {
    err += data
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

test('ends with 0 for help and good receipts, 1 for bad ones and failures, 2 for wrong usage', async () => {
  const runs = await Promise.all([
    sealpath(),
    sealpath('verify', GOOD_FILE),
    sealpath('verify', TAMPERED_FILE),
    sealpath('verify', join(folder, 'missing.json')),
    sealpath('verify'),
    sealpath('nothing'),
  ])
  expect(runs.map(({ code }) => code)).toEqual([0, 0, 1, 1, 2, 2])
  const [help, good, tampered, missing, usage, unknown] = runs.map(({ out, err }) => ({ out, err }))
  for (const name of ['chat', 'verify', 'evidence', 'gateway', 'operator', 'relay', 'issuer', 'aggregator', 'deploy']) {
    expect(help?.out).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  }
  expect(good?.out).toContain('The receipt holds.')
  expect(tampered?.out).toContain('The receipt does NOT hold.')
  expect(missing).toEqual({ out: '', err: `sealpath verify: cannot read ${join(folder, 'missing.json')}\n` })
  expect(usage?.err).toContain('usage: sealpath verify')
  expect(unknown?.err).toContain('there is no command nothing')
})

describe('verify', () => {
  let out = ''

  beforeEach(() => {
    out = ''
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += text
      return true
    })
  })

  afterEach(() => {
    vi.restoreAllMocks()
  })

  test('says of each step that it holds, and what it did not ask', async () => {
    expect(await verify.run([GOOD_FILE])).toBe(0)
    expect(out).toMatch(/ok +in the log of its enclave +leaf 0x[0-9a-f]{64}/)
    expect(out).toMatch(/ok +commitments/)
    expect(out).toContain('Not asked: the chain')
  })

  test('prints the answer when asked', async () => {
    expect(await verify.run(['--output', GOOD_FILE])).toBe(0)
    expect(out).toContain('Hello')
  })

  test('claims nothing of commitments that the file does not open', async () => {
    expect(await verify.run([save('plain.json', serializeReceiptFile(WITHOUT_OPENINGS))])).toBe(0)
    expect(out).not.toMatch(/ok +commitments/)
    expect(out).toContain('Not in this file: what opens the commitments.')
  })

  test('takes a proof bundle', async () => {
    const settled = {
      enclave: GOOD.public.enclave,
      index: 0n,
      size: 1n,
      logPath: [],
      batch: 1n,
      batchIndex: 0n,
      batchSize: 1n,
      batchPath: [],
      transaction: ZERO_HASH,
      block: 1n,
    }
    const bundle = serializeProofBundle({ format: 'sealpath-proof/1', receipt: GOOD, settled })
    expect(await verify.run([save('bundle.json', bundle)])).toBe(0)
  })

  test('compares the registry with the one that is trusted', async () => {
    expect(await verify.run(['--registry', `0x${'4E'.repeat(20)}`, GOOD_FILE])).toBe(0)
    expect(await verify.run(['--registry', `0x${'4f'.repeat(20)}`, GOOD_FILE])).toBe(1)
    expect(out).toMatch(/FAILED +registry/)
  })

  test.each([
    ['an answer', (text: string) => text.replace(/("output": \{\s*"salt": "0x[0-9a-f]+",\s*"data": ")S/, '$1T')],
    [
      'a salt',
      (text: string) =>
        text.replace(/("salt": "0x)(.)/, (_all, start, digit) => `${start}${digit === '0' ? '1' : '0'}`),
    ],
    ['the fee', (text: string) => text.replace('"fee": "8"', '"fee": "7"')],
    [
      'the signature',
      (text: string) => text.replace(/("r": "0x)(.)/, (_all, start, digit) => `${start}${digit === '0' ? '1' : '0'}`),
    ],
  ])('finds %s that was changed', async (_what, change) => {
    const text = serializeReceiptFile(GOOD)
    expect(change(text)).not.toBe(text)
    expect(await verify.run([save('changed.json', change(text))])).toBe(1)
    expect(out).toContain('does NOT hold')
  })

  test.each(['', '{}', 'hello', '{"format":"sealpath-proof/1"}'])('refuses %j: it is no receipt', async (text) => {
    await expect(verify.run([save('junk.json', text)])).rejects.toThrow(/is not a receipt/)
  })

  test('fails in one sentence when the chain does not answer', async () => {
    await expect(verify.run(['--rpc', 'http://127.0.0.1:9', GOOD_FILE])).rejects.toThrow(
      'no answer from http://127.0.0.1:9',
    )
  })
})

const A = `0x${'12'.repeat(20)}`

test.each([
  ['verify with two files', () => verify.run(['a', 'b'])],
  ['verify with an unknown option', () => verify.run(['--nothing', 'a'])],
  ['verify with a registry that is no address', () => verify.run(['--registry', '0x12', GOOD_FILE])],
  ['chat without a question', () => chat.run([])],
  ['chat with an unknown padding', () => chat.run(['--padding', 'some', 'hi'])],
  ['chat without a chain', () => chat.run(['hi'])],
  [
    'chat without an aggregator to settle',
    () => chat.run(['--settle', '--rpc', 'x', '--relay', 'y', '--registry', A, 'hi']),
  ],
  ['chat with a registry that is no address', () => chat.run(['--rpc', 'x', '--relay', 'y', '--registry', 'z', 'hi'])],
  ['deploy without a network', () => deploy.run([])],
  ['deploy without a protocol account', () => deploy.run(['--network', 'x'])],
  ['deploy with a token that is no address', () => deploy.run(['--network', 'x', '--protocol', A, '--token', '0x'])],
  ['a role without a configuration', () => roleCommand('gateway').run([])],
])('takes as wrong usage: %s', async (_what, run) => {
  await expect(run()).rejects.toThrow(UsageError)
})

test('names the configuration file of a role that is not there', async () => {
  for (const role of ROLE_NAMES.map(roleCommand))
    await expect(role.run(['--config', join(folder, 'none')])).rejects.toThrow(/there is no file/)
})

test('takes an option before its environment variable, and an empty one for none', () => {
  vi.stubEnv('SEALPATH_TEST', 'from the environment')
  expect(required('given', '--x', 'SEALPATH_TEST')).toBe('given')
  expect(required(undefined, '--x', 'SEALPATH_TEST')).toBe('from the environment')
  vi.stubEnv('SEALPATH_TEST', '')
  expect(() => required(undefined, '--x', 'SEALPATH_TEST')).toThrow('give --x, or set SEALPATH_TEST')
  vi.unstubAllEnvs()
})

test('reads addresses and arguments, and complains as usage', () => {
  expect(addressOf(A, '--x')).toBe(A)
  for (const bad of ['', A.slice(2), `${A}0`, `${A.slice(0, -1)}g`])
    expect(() => addressOf(bad, '--x')).toThrow(UsageError)
  expect(readArguments({ args: ['--a', 'b'], options: { a: { type: 'string' } } }).values.a).toBe('b')
  expect(() => readArguments({ args: ['b'], options: {} })).toThrow(UsageError)
})
