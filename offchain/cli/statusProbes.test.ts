import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { toJson } from '#protocol/wire/json.ts'
import { probeAggregator, probeChain, probeRelay, probeRole } from './statusProbes.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** Serves these documents by path; everything else is 404. */
async function serve(documents: Record<string, unknown>, status = 200): Promise<string> {
  const server = createServer((request, response) => {
    const document = documents[request.url ?? '']
    response.writeHead(document === undefined ? 404 : status).end(document === undefined ? '' : toJson(document))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const DEAD = 'http://127.0.0.1:9'
const directory = (...names: string[]) => ({
  operator: 'somebody',
  gateways: names.map((name) => ({ name, path: `/gateways/${name}` })),
})
const totals = { enclaves: 3, leaves: 40n, unsettledHeads: 1, pendingClearings: 0, settledClearings: 2, batches: 5 }

describe('a relay', () => {
  test('is well when every gateway behind it answers', async () => {
    const url = await serve({
      '/gateways': directory('a', 'b'),
      '/gateways/a/evidence': {},
      '/gateways/b/evidence': {},
    })
    expect(await probeRelay(url)).toEqual({
      part: 'relay',
      where: url,
      isWell: true,
      says: 'of "somebody", 2 gateways, all answer',
    })
  })

  test('is not when one does not, and names it', async () => {
    const url = await serve({ '/gateways': directory('a', 'b'), '/gateways/a/evidence': {} })
    expect(await probeRelay(url)).toMatchObject({ isWell: false, says: expect.stringContaining('no answer from b') })
  })

  test('cannot write on the terminal', async () => {
    const url = await serve({ '/gateways': { ...directory(), operator: '\u001b[31mred' } })
    const { says } = await probeRelay(url)
    expect(says).not.toContain('\u001b')
  })
})

test('an aggregator says what it holds and what waits', async () => {
  const account = `0x${'ab'.repeat(20)}`
  const url = await serve({ '/v1/status': { state: 'ok', ...totals, account } })
  expect(await probeAggregator(url)).toMatchObject({
    isWell: true,
    says: 'ok; 40 leaves of 3 enclaves, 5 batches on chain; waiting: heads 1, clearings 0',
  })
  const sick = await serve({ '/v1/status': { state: 'degraded', ...totals, account } })
  expect(await probeAggregator(sick)).toMatchObject({ isWell: false })
})

test('a role says why it is not ready', async () => {
  expect(await probeRole(await serve({ '/readyz': { state: 'ready', reasons: [] } }))).toMatchObject({
    isWell: true,
    says: 'ready',
  })
  const url = await serve({ '/readyz': { state: 'not ready', reasons: ['draining', 'no evidence'] } }, 503)
  expect(await probeRole(url)).toMatchObject({ isWell: false, says: 'draining; no evidence' })
  expect(await probeRole(await serve({}))).toMatchObject({ isWell: false, says: 'answers 404' })
})

test('what does not answer, or answers something else, is said and not thrown', async () => {
  const odd = await serve({ '/gateways': 'hello', '/v1/status': [] })
  for (const finding of [
    await probeRelay(DEAD),
    await probeAggregator(DEAD),
    await probeRole(DEAD),
    await probeRelay(odd),
    await probeAggregator(odd),
    await probeChain([DEAD], `0x${'01'.repeat(20)}`),
  ]) {
    expect(finding.isWell).toBe(false)
    expect(finding.says).not.toBe('')
  }
})

test('a chain is named without its path, which may hold a key', async () => {
  const { where } = await probeChain([`${DEAD}/v3/SECRET`], `0x${'01'.repeat(20)}`)
  expect(where).toBe('127.0.0.1:9')
})
