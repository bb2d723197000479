/**
 * The operator's own page: standing, log, earnings, prices, and a button that draws. It shows only what the chain and the enclave tell, and can only send
 * money to the operator; still it spends gas, so it listens on loopback unless told otherwise and takes no orders from pages of others.
 *
 *   GET  /              the page
 *   GET  /v1/operator   OperatorView in JSON, amounts in units as decimal strings
 *   POST /v1/withdraw   draws what can be drawn: { payouts }
 *
 * @module
 */
import { readFileSync } from 'node:fs'
import { type Context, Hono } from 'hono'
import { VaultError } from '#chain/vaultErrors.ts'
import { errorFields, type Logger } from '#node/log.ts'
import type { PriceList } from '#protocol/prices.ts'
import { toJson } from '#protocol/wire/json.ts'
import type { AgentState } from '../agent.ts'
import type { Payouts } from '../payouts.ts'

export type PageOptions = {
  readonly payouts: Pick<Payouts, 'read' | 'draw'>
  readonly state: () => AgentState
  /** How far the enclave's log is kept here, and how far each aggregator has it, by host. */
  readonly log: () => { readonly leaves: number; readonly delivered: Readonly<Record<string, number>> }
  /** Of a gateway; undefined for an issuer, and while the enclave does not answer. */
  readonly prices: () => Promise<PriceList | undefined>
  readonly logger: Logger
}

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
}

const FILES = [
  { path: '/', file: 'page.html', type: 'text/html; charset=utf-8' },
  { path: '/page.js', file: 'page.js', type: 'text/javascript; charset=utf-8' },
  { path: '/page.css', file: 'page.css', type: 'text/css; charset=utf-8' },
] as const

export function createPageApp({ payouts, state, log, prices, logger }: PageOptions): Hono {
  const app = new Hono()
  for (const { path, file, type } of FILES) {
    const body = readFileSync(new URL(file, import.meta.url), 'utf8')
    app.get(path, (c) => c.body(body, 200, { ...HEADERS, 'content-type': type }))
  }
  app.get('/v1/operator', async (c) => {
    const [earnings, priceList] = await Promise.all([payouts.read(), prices()])
    return json(c, { ...state(), log: log(), earnings, ...(priceList === undefined ? {} : { prices: priceList }) })
  })
  app.post('/v1/withdraw', async (c) => {
    // Browsers say where a request comes from; what does not say so is no browser, and has nobody's page open.
    const site = c.req.header('sec-fetch-site')
    if (site !== undefined && site !== 'same-origin') {
      return json(c, { error: { code: 'FOREIGN_PAGE', message: 'only this page itself may ask for that' } }, 403)
    }
    return json(c, { payouts: await payouts.draw(1n) })
  })
  app.onError((error, c) => {
    if (!(error instanceof VaultError)) logger.error('page request failed', errorFields(error))
    const [code, message] =
      error instanceof VaultError ? [error.code, error.message] : ['FAILED', 'the agent could not do this']
    return json(c, { error: { code, message } }, 502)
  })
  return app
}

function json(c: Context, value: unknown, status: 200 | 403 | 502 = 200): Response {
  return c.body(toJson(value), status, { ...HEADERS, 'content-type': 'application/json' })
}
