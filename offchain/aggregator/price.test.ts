import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createLogger } from '#node/log.ts'
import { createPriceSource, resolvePointer } from './price.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** Serves what `answer` says now. */
async function serve(answer: () => { status?: number; body: string }): Promise<string> {
  const server = createServer((_, response) => {
    const { status = 200, body } = answer()
    response.writeHead(status).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const lines: string[] = []
const log = createLogger('test', (line) => lines.push(line))

test('a fixed price is in units for one coin', async () => {
  expect(await createPriceSource('25000.5', log, () => 0)()).toBe(25_000_500_000n)
  expect(await createPriceSource('0', log, () => 0)()).toBeUndefined()
})

test('a served price is fetched once in a while and lasts an hour after its source fell silent', async () => {
  let body = '{"data":{"amount":"25000.123456789"}}'
  let status = 200
  const url = await serve(() => ({ status, body }))
  let now = 0
  const source = createPriceSource({ url, pointer: '/data/amount', refreshSeconds: 60 }, log, () => now)
  expect(await source()).toBe(25_000_123_456n)
  body = '{"data":{"amount":26000}}'
  now = 59_000
  expect(await source()).toBe(25_000_123_456n)
  now = 60_000
  expect(await source()).toBe(26_000_000_000n)
  lines.length = 0
  status = 500
  for (now = 120_000; now < 3_660_000; now += 60_000) expect(await source()).toBe(26_000_000_000n)
  expect(await source()).toBeUndefined()
  expect(lines).toHaveLength(1)
})

test.each([
  ['no JSON', 'price: 5'],
  ['nothing at the pointer', '{"other":5}'],
  ['an object', '{"price":{}}'],
  ['a negative number', '{"price":-5}'],
  ['zero', '{"price":0}'],
  ['an exponent', '{"price":1e-7}'],
  ['a long document', JSON.stringify({ price: 5, filler: 'x'.repeat(70_000) })],
])('%s is no price', async (_, body) => {
  const url = await serve(() => ({ body }))
  expect(await createPriceSource({ url, pointer: '/price', refreshSeconds: 60 }, log, () => 0)()).toBeUndefined()
})

test('a document with a price has 65,536 bytes and not one more', async () => {
  let body = ''
  const url = await serve(() => ({ body }))
  const price = (bytes: number) => {
    body = '{"price":5}'.padEnd(bytes)
    return createPriceSource({ url, pointer: '/price', refreshSeconds: 60 }, log, () => 0)()
  }
  expect(await price(65_536)).toBe(5_000_000n)
  expect(await price(65_537)).toBeUndefined()
})

test('pointers are those of RFC 6901', () => {
  const document = { 'a/b': [{ 'm~n': 8 }], '': 1 }
  expect(resolvePointer(document, '/a~1b/0/m~0n')).toBe(8)
  expect(resolvePointer(document, '/')).toBe(1)
  expect(resolvePointer(document, '/a~1b/1')).toBeUndefined()
  expect(resolvePointer(document, '/toString')).toBeUndefined()
})
