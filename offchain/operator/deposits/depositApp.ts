/**
 * The deposit desk over HTTP:
 *
 *   POST /v1/deposits/{keyset}/{size}/{claimKey}/{refundTo}     size: 1, 10 or 100 OPG
 *
 *   402  PAYMENT-REQUIRED says how to pay (x402, version 2); the same again with PAYMENT-SIGNATURE pays
 *   200  { "state": "deposited", "box" }, with PAYMENT-RESPONSE when this request paid
 *   400 BAD_REQUEST, 409 KEYSET_CLOSED, DEPOSITS_PAUSED or UNKNOWN_KEYSET, 503 UNAVAILABLE: ask again, nothing is lost
 *
 * Who asks shows its address and the claim key, nothing else: the credits themselves are fetched sealed, through a relay, later.
 * @module
 */
import type { Hono } from 'hono'
import * as v from 'valibot'
import { AppError } from '#node/appError.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { UNITS_PER_OPG } from '#protocol/credits/amounts.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { address, hash } from '#protocol/wire/json.ts'
import type { BoxPurchase, DepositDesk } from './depositDesk.ts'

const NAMES = DEPOSIT_SIZES.map((units) => `${units / UNITS_PER_OPG}`)

const PurchaseSchema = v.object({
  keyset: hash,
  size: v.pipe(
    v.string(),
    v.transform((name) => NAMES.indexOf(name)),
    v.minValue(0, `expected one of ${NAMES.join(', ')} OPG`),
  ),
  claimKey: address,
  refundTo: address,
})

/** Adds the desk's route to `app`. */
export function addDepositRoutes(app: Hono, desk: DepositDesk, log: Logger): void {
  app.post('/v1/deposits/:keyset/:size/:claimKey/:refundTo', async (c) => {
    const parsed = v.safeParse(PurchaseSchema, c.req.param())
    if (!parsed.success) {
      const message = parsed.issues[0]?.message ?? 'the path is malformed'
      return c.json({ error: { code: 'BAD_REQUEST', message } }, 400)
    }
    const purchase: BoxPurchase = parsed.output
    try {
      const answer = await desk.take(purchase, c.req.url, c.req.header('payment-signature'))
      switch (answer.kind) {
        case 'payment-required':
          c.header('PAYMENT-REQUIRED', answer.required)
          c.header('Cache-Control', 'no-store')
          return c.json(
            { error: { code: 'PAYMENT_REQUIRED', message: answer.reason ?? 'pay as the header says' } },
            402,
          )
        case 'refused':
          return c.json({ error: { code: answer.code, message: MESSAGES[answer.code] } }, 409)
        case 'deposited':
          if (answer.settlement !== undefined) c.header('PAYMENT-RESPONSE', answer.settlement)
          return c.json({ state: 'deposited', box: answer.box })
      }
    } catch (error) {
      log.warn('deposit failed', errorFields(error))
      const message = error instanceof AppError ? error.message : 'the desk failed: ask again'
      return c.json({ error: { code: 'UNAVAILABLE', message } }, 503)
    }
  })
}

const MESSAGES = {
  KEYSET_CLOSED: 'the first phase of this keyset is over, or almost: buy under a newer one',
  DEPOSITS_PAUSED: 'the guardian has stopped deposits for now',
  UNKNOWN_KEYSET: 'the vault knows no such keyset',
} as const
