/** From the configuration to the models served. @module */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parseShape } from '#protocol/wire/json.ts'
import type { BackendConfig } from './config.ts'
import { GATEWAY_LIMITS, GatewayLimitsSchema } from './limits.ts'
import { openModels } from './models.ts'

const DEMO = 'sealpath-demo-1m'
const DEMO_FILE = fileURLToPath(new URL('models/sealpath-demo.gguf', import.meta.url))
const DEMO_SHA256 = createHash('sha256').update(readFileSync(DEMO_FILE)).digest('hex')
const price = (model: string, source: 'measured' | 'operator' | 'proxied' = 'operator', origin?: string) => ({
  model,
  source,
  ...(origin === undefined ? {} : { origin }),
  requestUnits: 1n,
  promptUnitsPerMillion: 0n,
  completionUnitsPerMillion: 0n,
})
const prices = (...models: ReturnType<typeof price>[]) => ({ format: 'sealpath-prices/1', models }) as const
const server = (change: Partial<Extract<BackendConfig, { kind: 'openai' }>> = {}): BackendConfig => {
  return { kind: 'openai', url: 'http://127.0.0.1:1/v1', models: [{ name: 'a' }], source: 'operator', ...change }
}
const refused = (message: RegExp) =>
  expect.objectContaining({ name: 'AppError', code: 'BAD_CONFIG', message: expect.stringMatching(message) })

describe('openModels', () => {
  it('pairs every model with its price, and says what it serves', () => {
    const hosted = server({
      url: 'https://api.example.com/v1',
      source: 'proxied',
      server: 'openai',
      models: [{ name: 'b' }, { name: 'c', serves: ['embeddings'], contextTokens: 512 }],
    })
    const models = openModels(
      [{ kind: 'embedded' }, server(), hosted],
      prices(
        price(DEMO, 'measured'),
        price('a'),
        price('b', 'proxied', 'api.example.com'),
        price('c', 'proxied', 'api.example.com'),
      ),
    )
    expect([...models].map(([name, { model }]) => [name, model.serves])).toEqual([
      [DEMO, ['chat', 'completions']],
      ['a', ['chat', 'completions']],
      ['b', ['chat']],
      ['c', ['embeddings']],
    ])
    expect(models.get('c')?.model.contextTokens).toBe(512)
  })

  it('calls a model measured when its digest is given, the word of its operator otherwise', () => {
    const claimOf = (backend: BackendConfig, source: 'measured' | 'operator') =>
      openModels([backend], prices(price(DEMO, source))).get(DEMO)?.model.claim
    const embedded = { kind: 'embedded', modelPath: DEMO_FILE } as const
    expect(claimOf(embedded, 'operator')).toEqual({ source: 'operator' })
    expect(claimOf({ ...embedded, modelSha256: DEMO_SHA256 }, 'measured')).toEqual({ source: 'measured' })
    const served = server({
      models: [{ name: DEMO }],
      source: 'measured',
      measuredFiles: [{ path: DEMO_FILE, sha256: DEMO_SHA256 }],
    })
    expect(claimOf(served, 'measured')).toEqual({ source: 'measured' })
  })

  it('gives the models of one backend the places of that backend', () => {
    const bounded = server({ models: [{ name: 'a' }, { name: 'b' }], answersMax: 1 })
    const models = openModels(
      [bounded, server({ models: [{ name: 'c' }] })],
      prices(price('a'), price('b'), price('c')),
    )
    const [a, b, c] = ['a', 'b', 'c'].map((name) => models.get(name)?.slots)
    expect(c).toBeUndefined()
    const release = a?.take()
    expect(b?.take()).toBeUndefined()
    release?.()
    release?.()
    expect(b?.taken).toBe(0)
    expect(b?.take()).toBeDefined()
    expect(a?.take()).toBeUndefined()
  })

  it.each([
    ['no price', [server()], prices(price('b')), /no price for the model a/],
    ['no backend', [server()], prices(price('a'), price('b')), /no backend serves b/],
    ['a name twice', [server(), server()], prices(price('a')), /two backends/],
    ['a claim that the backend cannot make', [server()], prices(price('a', 'measured')), /can only claim operator/],
    ['a URL that cannot carry the claim', [server({ source: 'proxied' })], prices(price('a')), /https URL/],
    [
      'a measured model without its files',
      [server({ source: 'measured' })],
      prices(price('a', 'measured')),
      /measuredFiles/,
    ],
    [
      'a measured file that is another',
      [server({ source: 'measured', measuredFiles: [{ path: DEMO_FILE, sha256: '00'.repeat(32) }] })],
      prices(price('a', 'measured')),
      /has the SHA-256 [0-9a-f]{64}/,
    ],
    [
      'a measured file that is missing',
      [server({ source: 'measured', measuredFiles: [{ path: '/nonexistent/model', sha256: DEMO_SHA256 }] })],
      prices(price('a', 'measured')),
      /no such file/,
    ],
    [
      'an embedded model of another digest',
      [{ kind: 'embedded' as const, modelPath: DEMO_FILE, modelSha256: '00'.repeat(32) }],
      prices(price(DEMO, 'measured')),
      /has the SHA-256/,
    ],
    [
      'a pin that is none',
      [server({ url: 'https://a.example/v1', certificatePins: ['x'] })],
      prices(price('a')),
      /pin is/,
    ],
    [
      'a CA for a server without TLS',
      [server({ certificatePins: [`${'A'.repeat(43)}=`] })],
      prices(price('a')),
      /only an https server/,
    ],
    ['a key file that is not there', [server({ apiKeyFile: '/nonexistent/key' })], prices(price('a')), /cannot open/],
  ])('refuses a configuration with %s', (_, backends, list, message) => {
    expect(() => openModels(backends, list)).toThrow(refused(message))
  })
})

describe('the limits', () => {
  it('have their defaults where nothing is named', () => {
    expect(parseShape(GatewayLimitsSchema, {}, 'limits')).toEqual({
      completionTokensMax: 131_072,
      choicesMax: 128,
      inputsMax: 2_048,
      answersMax: 256,
      answerSecondsMax: 600,
      answerBytesMax: 16_777_216,
      readerTimeoutSeconds: 30,
      requestBytesMax: 16_777_216,
      leavesKeptMax: 1_000_000,
      replaysMax: 1_000_000,
      dateWindowSeconds: 300,
    })
    expect(parseShape(GatewayLimitsSchema, { choicesMax: 2 }, 'limits')).toEqual({ ...GATEWAY_LIMITS, choicesMax: 2 })
  })

  it('are whole and at least one', () => {
    for (const name of Object.keys(GATEWAY_LIMITS)) {
      for (const value of [0, 1.5, -1, '1'])
        expect(() => parseShape(GatewayLimitsSchema, { [name]: value }, 'limits')).toThrow()
    }
    expect(() => parseShape(GatewayLimitsSchema, { answerSecondsMax: 86_401 }, 'limits')).toThrow()
  })
})
