/** Every way in which asking goes wrong has words of its own. @module */
import { describe, expect, it } from 'vitest'
import { SealpathError, type SealpathErrorCode } from '../../sdk/errors.ts'
import { WalletError } from '../../sdk/wallet/walletError.ts'
import { problemOf, RefusedError, readRefusal } from './problems.ts'

const PLACES = { rpcUrl: 'https://chain.test/key', relayUrl: 'https://relay.test/', isOnline: true }

const CODES: Readonly<Record<SealpathErrorCode, RegExp>> = {
  NOT_OURS: /did not work: why/,
  CHAIN_FAILED: /endpoint chain\.test does not answer/,
  RELAY_FAILED: /relay relay\.test does not answer/,
  NO_GATEWAY: /no gateway to ask/,
  EVIDENCE_REFUSED: /not trusted: why\. Nothing was sealed/,
  REQUEST_NOT_OPENED: /could not open the request/,
  TIMED_OUT: /longer than allowed/,
  ANSWER_CUT: /broke off/,
  RECEIPT_MISSING: /without a receipt: do not rely/,
  RECEIPT_REJECTED: /does not fit .*do not rely/,
  NOT_SETTLED: /did not work: why/,
  PROOF_REJECTED: /did not work: why/,
  ISSUER_REFUSED: /issuer of the credits refuses: why/,
  BAD_OPTIONS: /did not work: why/,
}

describe('problemOf', () => {
  it.each(Object.entries(CODES))('%s', (code, says) => {
    const problem = problemOf(new SealpathError(code as SealpathErrorCode, 'why'), PLACES)
    expect(problem).toEqual({ kind: 'failed', says: expect.stringMatching(says) })
    // An endpoint's path may hold a key.
    expect(problem.says).not.toContain('/key')
  })

  it('tells a relay that refuses from one that is not there, and a browser that is offline from both', () => {
    const refused = new SealpathError('RELAY_FAILED', 'why', { reason: 'HTTP_429' })
    expect(problemOf(refused, PLACES).says).toContain('answers 429')
    expect(problemOf(refused, { ...PLACES, isOnline: false }).says).toContain('offline')
  })

  it('offers credits where they would help', () => {
    const required = new RefusedError(402, 'why', { code: 'payment_required', maximumFee: 1_300n })
    expect(problemOf(required, PLACES)).toMatchObject({ kind: 'payment', says: expect.stringContaining('0.0013 OPG') })
    const short = new WalletError('INSUFFICIENT', 'why', { needed: 2_000n, spendable: 1_000n })
    expect(problemOf(short, PLACES)).toMatchObject({ kind: 'payment', says: expect.stringContaining('0.002 OPG') })
    expect(problemOf(new WalletError('RESTORING', 'why'), PLACES).kind).toBe('failed')
    expect(problemOf(new RefusedError(402, 'why', { code: 'payment_refused' }), PLACES).kind).toBe('payment')
  })

  it('knows a person who stopped it', () => {
    expect(problemOf(new DOMException('stop', 'AbortError'), PLACES).kind).toBe('stopped')
  })
})

describe('readRefusal', () => {
  it('reads what gateways say, and takes anything else as it is', async () => {
    const said = { error: { message: 'pay', code: 'payment_required', maximum_fee_units: '13' } }
    const read = await readRefusal(Response.json(said, { status: 402 }))
    expect([read.status, read.message, read.code, read.maximumFee]).toEqual([402, 'pay', 'payment_required', 13n])
    const odd = await readRefusal(new Response('no JSON', { status: 500 }))
    expect([odd.status, odd.message, odd.code]).toEqual([500, 'no JSON', undefined])
  })
})
