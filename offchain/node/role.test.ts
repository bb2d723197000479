import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as v from 'valibot'
import { afterAll, expect, test } from 'vitest'
import { toHex } from '#protocol/bytes.ts'
import { measureSources } from './attesters/sourcePcrs.ts'
import { openDatabase } from './database.ts'
import { readConfig } from './role.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-role-'))
afterAll(() => rmSync(folder, { recursive: true }))

const RELAY = fileURLToPath(new URL('../relay/main.ts', import.meta.url))
const SILENT = { info: () => {}, warn: () => {}, error: () => {} }

function save(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

test.each([
  ['no path', () => undefined, 'SEALPATH_CONFIG'],
  ['an empty path', () => '', 'SEALPATH_CONFIG'],
  ['a missing file', () => join(folder, 'missing.json'), 'missing.json'],
  ['a folder', () => folder, folder],
  ['no JSON', () => save('junk.json', 'SECRET'), 'junk.json'],
  [
    'another shape',
    () => save('shape.json', '{"port":"SECRET"}'),
    'shape.json: port: expected a number; there is text of 6 characters',
  ],
  [
    'JSON with a comma too many',
    () => save('comma.json', '{"port": 1,\n "SECRET": 2,}'),
    'it goes wrong at line 2, column 14',
  ],
])('refuses %s as a configuration, naming the place and not the content', (_what, path, named) => {
  const read = (): unknown => readConfig(v.object({ port: v.number() }), path())
  expect(read).toThrow(expect.objectContaining({ name: 'AppError', code: 'BAD_CONFIG' }))
  expect(read).toThrow(named)
  expect(read).not.toThrow(/SECRET/)
})

test('runs a role until it is told to stop, and drains it', async () => {
  const config = save(
    'relay.json',
    JSON.stringify({
      listen: { host: '127.0.0.1', port: 0 },
      operator: 'a test',
      gateways: [{ name: 'g', url: 'http://127.0.0.1:9' }],
    }),
  )
  const child = spawn(process.execPath, [RELAY], {
    env: { PATH: process.env.PATH, SEALPATH_CONFIG: config },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let lines = ''
  child.stderr?.on('data', (data: Buffer) => {
    lines += data
  })
  expect((await once(child, 'message'))[0]).toBe('ready')
  const url = /"url":"([^"]+)"/.exec(lines)?.[1]
  expect((await fetch(`${url}/readyz`)).status).toBe(200)
  child.kill('SIGTERM')
  expect((await once(child, 'exit'))[0]).toBe(0)
  expect(lines).toContain('"event":"draining","signal":"SIGTERM"')
})

test.runIf(process.platform !== 'win32')(
  'warns of a key that others may read, and says that key and certificate do not fit',
  async () => {
    const keyFile = save('tls.key', 'not read before it is checked')
    chmodSync(keyFile, 0o640)
    const listen = { host: '127.0.0.1', port: 0, tls: { certificateFile: save('tls.crt', ''), keyFile } }
    const gateways = [{ name: 'g', url: 'http://127.0.0.1:9' }]
    const child = spawn(process.execPath, [RELAY], {
      env: {
        PATH: process.env.PATH,
        SEALPATH_CONFIG: save('tls.json', JSON.stringify({ listen, operator: 'a', gateways })),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let lines = ''
    child.stderr?.on('data', (data: Buffer) => {
      lines += data
    })
    expect((await once(child, 'close'))[0]).toBe(1)
    const [warning, failure] = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(warning).toMatchObject({ level: 'warn', place: 'listen.tls.keyFile', remedy: `chmod 600 ${keyFile}` })
    expect(failure).toMatchObject({ event: 'start failed', reason: expect.stringContaining('expected both in PEM') })
  },
)

test('ends a role with 1 and a sentence when it cannot start', async () => {
  const child = spawn(process.execPath, [RELAY], {
    env: { PATH: process.env.PATH, SEALPATH_CONFIG: save('bad.json', '{}') },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let lines = ''
  child.stderr?.on('data', (data: Buffer) => {
    lines += data
  })
  expect((await once(child, 'close'))[0]).toBe(1)
  const said = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  // One line for each of the settings that a relay cannot do without.
  expect(said.map(({ reason }) => /: (\w+): /.exec(String(reason))?.[1])).toEqual(['listen', 'operator', 'gateways'])
  for (const line of said) expect(line).toMatchObject({ event: 'start failed', code: 'BAD_CONFIG' })
})

function checkout(name: string, change: (path: string) => void = () => {}): string {
  const root = join(folder, name)
  for (const part of ['gateway/models', 'offchain/node', 'offchain/protocol']) {
    mkdirSync(join(root, part), { recursive: true })
    writeFileSync(join(root, part, 'a.ts'), `code of ${part}`)
    writeFileSync(join(root, part, 'a.test.ts'), 'a test')
  }
  change(root)
  return root
}

function measure(root: string): string[] {
  return [...measureSources(root, 'gateway')].map(([index, value]) => `${index} ${toHex(value)}`)
}

test('measures two checkouts of the same source the same, wherever they are and however their path is written', () => {
  const one = measure(checkout('one'))
  expect(one).toHaveLength(3)
  expect(measure(checkout('elsewhere/two'))).toEqual(one)
  expect(measure(`${join(folder, 'one')}/`)).toEqual(one)
})

test.each([
  [
    'one changed byte',
    (root: string) => writeFileSync(join(root, 'gateway/models/a.ts'), 'Code of gateway/models'),
    true,
  ],
  ['a file more', (root: string) => writeFileSync(join(root, 'offchain/node/b.ts'), ''), true],
  ['another name', (root: string) => writeFileSync(join(root, 'offchain/node/A.ts'), 'code of offchain/node'), true],
  ['another test', (root: string) => writeFileSync(join(root, 'gateway/models/a.test.ts'), 'x'), false],
  ['a benchmark', (root: string) => writeFileSync(join(root, 'gateway/a.bench.ts'), 'x'), false],
  ['a document', (root: string) => writeFileSync(join(root, 'gateway/README.md'), 'x'), false],
])('measures %s', (what, change, isDifferent) => {
  const changed = measure(checkout(`changed ${what}`, change))
  const same = measure(checkout(`same ${what}`))
  expect(changed[0] !== same[0]).toBe(isDifferent)
  expect(changed.slice(1)).toEqual(same.slice(1))
})

test('refuses a database folder that is served on another port, and leaves its lock alone', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('expected a port')
  mkdirSync(join(folder, 'data/postgres'), { recursive: true })
  writeFileSync(join(folder, 'data/postgres/postmaster.pid'), `${process.pid}\nfolder\n0\n${address.port}\n`)
  await expect(openDatabase({ folder: join(folder, 'data'), port: address.port + 1 }, SILENT)).rejects.toMatchObject({
    code: 'DATABASE_FAILED',
    message: expect.stringContaining(`port ${address.port}`),
  })
  server.close()
})

test('says that a database does not answer', async () => {
  const url = 'postgres://a:b@127.0.0.1:9/c?connect_timeout=1'
  await expect(openDatabase({ url }, SILENT)).rejects.toMatchObject({ code: 'DATABASE_FAILED' })
})
