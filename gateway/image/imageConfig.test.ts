import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readImageConfig } from './imageConfig.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-image-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

function read(config: unknown): ReturnType<typeof readImageConfig> {
  const path = join(folder, 'role.json')
  writeFileSync(path, JSON.stringify(config))
  return readImageConfig(path)
}

describe('a configuration in an image', () => {
  it('says what the file says, however the file is written', () => {
    const { value, bytes, files } = read({ b: [1], a: { c: 'd' } })
    expect(value).toEqual({ b: [1], a: { c: 'd' } })
    expect(Buffer.from(bytes).toString()).toBe('{\n  "b": [\n    1\n  ],\n  "a": {\n    "c": "d"\n  }\n}\n')
    expect(files.size).toBe(0)
  })

  it('brings along the models and certificates that it names, and says where they are inside', () => {
    mkdirSync(join(folder, 'weights'), { recursive: true })
    writeFileSync(join(folder, 'weights/one.gguf'), 'one')
    writeFileSync(join(folder, 'ca.pem'), 'a certificate')
    const embedded = { kind: 'embedded', modelPath: 'weights/one.gguf' }
    const openai = { kind: 'openai', caFile: join(folder, 'ca.pem') }
    const { value, files } = read({ backends: [embedded, openai, { kind: 'openai' }, openai] })
    const inside = { kind: 'openai', caFile: '/opt/sealpath/files/ca.pem' }
    expect(value).toEqual({
      backends: [{ kind: 'embedded', modelPath: '/opt/sealpath/files/one.gguf' }, inside, { kind: 'openai' }, inside],
    })
    expect([...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()])).toEqual([
      ['opt/sealpath/files/one.gguf', 'one'],
      ['opt/sealpath/files/ca.pem', 'a certificate'],
    ])
  })

  it('names no two files alike', () => {
    mkdirSync(join(folder, 'a'), { recursive: true })
    writeFileSync(join(folder, 'a/same.gguf'), 'one')
    writeFileSync(join(folder, 'same.gguf'), 'another')
    expect(() => read({ backends: [{ modelPath: 'a/same.gguf' }, { modelPath: 'same.gguf' }] })).toThrow(
      'two files are called same.gguf',
    )
  })

  it.each([
    ['the key of a model server', { backends: [{ apiKeyFile: 'k' }] }, 'backends.0.apiKeyFile: leave it out'],
    ['a private key', { account: { keyFile: 'k' } }, 'account.keyFile: leave it out'],
    ['files of keysets', { keys: { files: ['k'] } }, 'keys.files: leave it out'],
    ['TLS', { listen: { tls: {} } }, 'listen.tls: leave it out'],
    ['a database in its memory', { database: { folder: 'd', port: 1 } }, 'database.folder: name a PostgreSQL'],
    ['metrics', { metrics: { host: '127.0.0.1', port: 1 } }, 'metrics: leave it out'],
    ['a model that is not there', { backends: [{ modelPath: 'none.gguf' }] }, 'modelPath: cannot read'],
    ['a model server inside', { backends: [{ measuredFiles: [] }] }, 'backends.0.measuredFiles: leave it out'],
    ['certificates elsewhere', { relay: { caFile: 'c' } }, 'relay.caFile: leave it out'],
    ['something else than settings', ['a list'], 'configuration'],
  ])('is refused with a sentence for %s', (_, config, sentence) => {
    expect(() => read(config)).toThrow(sentence)
  })
})
