import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as v from 'valibot'
import { afterAll, expect, test } from 'vitest'
import { exposedFiles, findMissingFiles, findSecrets } from './configFiles.ts'
import { findMistakes, nearest } from './mistakes.ts'

const whole = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(9))
const Schema = v.object({
  operator: v.pipe(v.string(), v.minLength(1), v.maxLength(8)),
  chain: v.intersect([v.object({ chainId: whole }), v.object({ vault: v.optional(v.string(), 'none') })]),
  attester: v.optional(
    v.variant('kind', [
      v.object({ kind: v.literal('nitro') }),
      v.object({ kind: v.literal('development'), rootFile: v.string() }),
    ]),
    { kind: 'nitro' },
  ),
  database: v.optional(v.union([v.object({ url: v.string() }), v.object({ folder: v.string(), port: whole })]), {
    url: '',
  }),
  gateways: v.optional(
    v.pipe(
      v.array(v.strictObject({ name: v.string(), url: v.pipe(v.string(), v.url()) })),
      v.check((list) => list.length !== 2, 'two gateways are one too many'),
    ),
    [],
  ),
  limits: v.optional(v.object({ openRequestsMax: v.optional(whole, 3) }), {}),
})
const GOOD = { operator: 'us', chain: { chainId: 1 } }
const mistakes = (more: object) =>
  findMistakes(Schema, { ...GOOD, ...more }).map(({ place, sentence }) => `${place}: ${sentence}`)

test('finds nothing wrong with what is right, and lets a pasted deployment say more', () => {
  expect(mistakes({})).toEqual([])
  expect(mistakes({ chain: { chainId: 1, token: '0x12' } })).toEqual([])
})

test('finds all mistakes at once', () => {
  expect(
    mistakes({ operator: '', chain: { chainId: 1.5 }, limits: { openRequestsMax: '7' }, gateways: [{ name: 1 }] }),
  ).toEqual([
    'operator: expected text of 1 to 8 characters; there is empty text',
    'chain.chainId: expected a whole number from 1 to 9; there is 1.5',
    'gateways.0.name: expected text; there is 1',
    'gateways.0.url: expected a URL; there is nothing',
    'limits.openRequestsMax: expected a whole number from 1 to 9; there is "7"',
  ])
})

test.each([
  ['limits.openRequestMax', { limits: { openRequestMax: 1 } }, 'did you mean openRequestsMax?'],
  ['limit', { limit: {} }, 'did you mean limits?'],
  ['gateways.0.caFile', { gateways: [{ name: 'a', url: 'http://a', caFile: 'x' }] }, 'known here: name, url'],
  ['attester.rootFil', { attester: { kind: 'development', rootFile: 'x', rootFil: 'y' } }, 'did you mean rootFile?'],
  ['attester.rootFile', { attester: { kind: 'nitro', rootFile: 'x' } }, 'known here: kind'],
  ['database.port', { database: { url: 'x', port: 5 } }, 'known here: url'],
])('knows no %s', (place, more, remedy) => {
  expect(mistakes(more)).toEqual([expect.stringMatching(`^${place}: there is no such setting; .*`)])
  expect(mistakes(more)[0]).toContain(remedy)
})

test.each([
  [{ attester: { kind: 'tdx' } }, ['attester.kind: expected "nitro" or "development"; there is "tdx"']],
  [{ attester: {} }, ['attester.kind: expected "nitro" or "development"; there is nothing']],
  [{ attester: { kind: 'development' } }, ['attester.rootFile: expected text; there is nothing']],
  [{ database: { folder: 'x' } }, ['database.port: expected a whole number from 1 to 9; there is nothing']],
  [{ database: {} }, ['database: expected an object with url, or an object with folder, port; there is an object']],
  [{ database: 7 }, ['database: expected an object with url, or an object with folder, port; there is 7']],
  [{ limits: [] }, ['limits: expected an object with openRequestsMax; there is an empty list']],
  [{ chain: null }, [expect.stringMatching(/^chain: expected an object with chainId, vault; there is null$/)]],
  [
    {
      gateways: [
        { name: 'a', url: 'http://a' },
        { name: 'a', url: 'http://a' },
      ],
    },
    ['gateways: two gateways are one too many'],
  ],
])('says of %j what was expected there', (more, said) => {
  expect(mistakes(more)).toEqual(said)
})

test('never quotes text that may be a secret or a whole file', () => {
  expect(mistakes({ operator: 'sk-0123456789abcdef', chain: { chainId: 'SECRET' } }).join()).not.toMatch(/sk-|SECRET/)
})

test('suggests the name that differs least, and none that differs much', () => {
  expect(nearest('Limits', ['listen', 'limits'])).toBe('limits')
  expect(nearest('aggregator', ['aggregators', 'operator'])).toBe('aggregators')
  expect(nearest('colour', ['limits', 'listen'])).toBeUndefined()
})

const folder = mkdtempSync(join(tmpdir(), 'sealpath-config-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, mode: number): string => {
  const path = join(folder, name)
  writeFileSync(path, '')
  chmodSync(path, mode)
  return path
}

test('takes a password in a URL of this machine only', () => {
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
    expect(findSecrets({ database: { url: `postgres://a:SECRET@${host}:5432/b` } })).toEqual([])
  }
  for (const url of ['postgres://a:SECRET@db.test/b', 'postgres://db.test/b?user=a&password=SECRET']) {
    const [found, ...more] = findSecrets({ database: { url } })
    expect([found?.place, more]).toEqual(['database.url', []])
    expect(found?.sentence).toContain('PGPASSWORD')
    expect(found?.sentence).not.toContain('SECRET')
  }
  expect(findSecrets({ rpcUrls: ['http://a.test', 'http://a:b@c.test'] })).toMatchObject([{ place: 'rpcUrls.1' }])
  expect(findSecrets({ database: { url: 'postgres://a@db.test/b' } })).toEqual([])
})

test('takes the name of a key file, never the key', () => {
  const key = 'ab'.repeat(32)
  for (const text of [key, `0x${key}`]) {
    expect(findSecrets({ accountKeyFiles: [text] })).toMatchObject([{ place: 'accountKeyFiles.0' }])
    expect(JSON.stringify(findSecrets({ accountKeyFile: text }))).not.toContain(key)
  }
  // Hashes stand in configurations as well.
  expect(findSecrets({ successors: [`0x${key}`] })).toEqual([])
})

test('names each file that is not there, but for the one that is made', () => {
  const there = file('there', 0o600)
  const config = {
    accountKeyFiles: [there, join(folder, 'a')],
    attester: { rootFile: join(folder, 'b') },
    listen: { tls: { certificateFile: folder, keyFile: there } },
  }
  expect(findMissingFiles(config)).toEqual([
    { place: 'accountKeyFiles.1', sentence: `there is no file ${join(folder, 'a')}` },
    { place: 'listen.tls.certificateFile', sentence: `${folder} is no file` },
  ])
})

test.runIf(process.platform !== 'win32')('tells the secret files that others may read', () => {
  const config = {
    accountKeyFile: file('group', 0o640),
    keys: { files: [file('own', 0o600), file('all', 0o604)] },
    attester: { rootFile: file('root', 0o644) },
    listen: { tls: { certificateFile: file('certificate', 0o644), keyFile: file('key', 0o400) } },
  }
  expect(exposedFiles(config).map(({ place }) => place)).toEqual([
    'accountKeyFile',
    'keys.files.1',
    'attester.rootFile',
  ])
})
