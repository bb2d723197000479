/** How far a witness is believed: as far as the log's own enclave signed. @module */
import { createServer, type Server } from 'node:http'
import { afterEach, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { enclaveOfKey, signHead } from '#protocol/receipt/head.ts'
import type { EnclaveLog } from '#protocol/wire/aggregatorApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { connectWitness } from './witness.ts'

const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const KEY = new Uint8Array(32).fill(1)
const ENCLAVE = enclaveOfKey(KEY).toLowerCase() as Hex
const OTHER_KEY = new Uint8Array(32).fill(2)

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

async function serve(status: number, body: unknown): Promise<string> {
  const server = createServer((_, response) => response.writeHead(status).end(toJson(body)))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('expected a port')
  return `http://127.0.0.1:${address.port}`
}

function logOf(
  size: bigint,
  key = KEY,
  domain: typeof DOMAIN | { chainId: number; settlement: Hex } = DOMAIN,
): EnclaveLog {
  const enclave = enclaveOfKey(key).toLowerCase() as Hex
  const stated = { enclave, size, root: `0x${'77'.repeat(32)}` as Hex, fees: 3n }
  const { signature } = signHead({ kind: 'earnings', ...stated }, domain, key)
  return { enclave, role: 'issuer', size, settledSize: 0n, fees: 3n, head: { ...stated, signature } }
}

const sizeAt = async (url: string) => connectWitness(url, DOMAIN).sizeOf(ENCLAVE)

it('a witness is believed with the head of the enclave, and holds nothing when it says so', async () => {
  expect(await sizeAt(await serve(200, logOf(7n)))).toBe(7)
  expect(await sizeAt(await serve(404, { error: { code: 'NOT_FOUND', message: 'no log' } }))).toBe(0)
})

it.each([
  ['more than its head says', { ...logOf(7n), size: 8n }],
  ['a head that was changed', { ...logOf(7n), size: 8n, head: { ...logOf(7n).head, size: 8n } }],
  ["another enclave's head", logOf(7n, OTHER_KEY)],
  ["another enclave's head under this one's name", { ...logOf(7n), head: logOf(8n, OTHER_KEY).head, size: 8n }],
  ['a head for another chain', logOf(7n, KEY, { ...DOMAIN, chainId: 1 })],
])('a witness that claims %s is not believed', async (_, body) => {
  await expect(sizeAt(await serve(200, body))).rejects.toMatchObject({ name: 'WitnessError', code: 'UNPROVEN' })
})

it.each([
  [500, { error: { code: 'BUSY', message: 'later' } }],
  [404, { error: { code: 'BAD_REQUEST', message: 'no' } }],
  [200, { size: '7' }],
])('what is no answer, like %i, is a failure of a peer', async (status, body) => {
  await expect(sizeAt(await serve(status, body))).rejects.toMatchObject({ code: 'PEER_FAILED', retryable: true })
})

it('a delivery ends with a size, with where a gap is, or with the reason of a refusal', async () => {
  const { head, enclave } = logOf(7n)
  const delivery = { role: 'issuer', head: { ...head, enclave }, from: 0n, leaves: new Uint8Array(32) } as const
  const answerTo = async (status: number, body: unknown) =>
    connectWitness(await serve(status, body), DOMAIN).deliver(delivery)
  const refusal = (code: string, more = {}) => ({ error: { code, message: 'no', ...more } })
  expect(await answerTo(200, { size: 7n })).toEqual({ size: 7 })
  expect(await answerTo(409, refusal('GAP', { expectedFrom: 3n }))).toEqual({ gapAt: 3 })
  expect(await answerTo(409, refusal('GAP'))).toEqual({ refused: 'GAP' })
  expect(await answerTo(400, refusal('EQUIVOCATION', { expectedFrom: 3n }))).toEqual({ refused: 'EQUIVOCATION' })
})

it('an answer may be 65,536 bytes long, and is cut after that', async () => {
  const body = { ...logOf(7n), padding: '' }
  const lengthOf = (text: string) => toJson({ ...body, padding: text }).length
  const filled = (bytes: number) => ({ ...body, padding: 'x'.repeat(bytes - lengthOf('')) })
  expect(await sizeAt(await serve(200, filled(65_536)))).toBe(7)
  await expect(sizeAt(await serve(200, filled(65_537)))).rejects.toMatchObject({ code: 'PEER_FAILED' })
})
