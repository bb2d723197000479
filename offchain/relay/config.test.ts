import { expect, test } from 'vitest'
import { parseJson } from '#protocol/wire/json.ts'
import { RELAY_LIMITS, RelayConfigSchema } from './config.ts'

const MINIMAL = {
  listen: { host: '127.0.0.1', port: 8080 },
  operator: 'a test',
  gateways: [{ name: 'g', url: 'http://127.0.0.1:9' }],
}

function parse(more: Record<string, unknown>): ReturnType<typeof parseJson<unknown>> {
  return parseJson(RelayConfigSchema, JSON.stringify({ ...MINIMAL, ...more }), 'configuration')
}

test('has a default for every limit, and takes any of them alone', () => {
  expect(parse({})).toEqual({ ...MINIMAL, limits: RELAY_LIMITS })
  expect(RELAY_LIMITS).toMatchObject({
    requestBytesMax: 33_554_432,
    openRequestsMax: 4_000,
    openRequestsPerGatewayMax: 2_000,
    openRequestsPerAddressMax: 200,
    requestsPerMinute: 1_200,
    addressesMax: 100_000,
    connectionsMax: 10_000,
  })
  for (const name of Object.keys(RELAY_LIMITS)) {
    // Heads must be there before bodies.
    const value = name === 'headersTimeoutMs' ? 7 : 20_001
    expect(parse({ limits: { [name]: value } })).toEqual({ ...MINIMAL, limits: { ...RELAY_LIMITS, [name]: value } })
  }
})

test.each([
  ['a limit it does not know', { limits: { requestsPerHour: 1 } }],
  ['a limit of none', { limits: { openRequestsMax: 0 } }],
  ['a limit longer than a timer can be', { limits: { addressMemoryMs: 2 ** 31 } }],
  [
    'a head that may take longer than the whole request',
    { limits: { headersTimeoutMs: 2_000, uploadTimeoutMs: 1_000 } },
  ],
  ['a gateway that is not reached over HTTP', { gateways: [{ name: 'g', url: 'ftp://127.0.0.1' }] }],
  ['two gateways of one name', { gateways: [...MINIMAL.gateways, { name: 'g', url: 'http://127.0.0.1:8' }] }],
  ['a header name that no header has', { clientAddressHeader: 'X-Forwarded-For' }],
])('refuses %s', (_what, more) => {
  expect(() => parse(more)).toThrow()
})

test('takes the header that a TLS terminator sets', () => {
  expect(parse({ clientAddressHeader: 'x-forwarded-for' })).toMatchObject({ clientAddressHeader: 'x-forwarded-for' })
})
