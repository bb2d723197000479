/** What a payer is asked for. Payments, and what becomes of them: test/integration/depositDesk.test.ts. @module */
import { decodePaymentRequiredHeader } from '@x402/core/http'
import { describe, expect, it } from 'vitest'
import { type DeskAnswer, type DeskOptions, openDepositDesk } from './depositDesk.ts'

const ADDRESS = `0x${'0a'.repeat(20)}` as const
const PURCHASE = { keyset: `0x${'aa'.repeat(32)}`, size: 0, claimKey: ADDRESS, refundTo: ADDRESS } as const
const NOW = 1_000_000

/** A desk before a vault whose keyset signs until then. */
async function ask(signUntil: number): Promise<DeskAnswer> {
  const says: Record<string, unknown> = {
    TOKEN: ADDRESS,
    eip712Domain: ['0x0f', 'OPG', '1'],
    boxOf: ADDRESS,
    depositOf: { state: 0 },
    keysetOf: { number: 1 },
    keysetTimes: { signUntil },
    paused: false,
    balanceOf: 0n,
  }
  const client = { readContract: async ({ functionName }: { functionName: string }) => says[functionName] }
  const wallet = { chain: { id: 31_337 }, account: { address: ADDRESS } }
  const options = { client, wallet, vault: ADDRESS, now: () => NOW } as unknown as DeskOptions
  return (await openDepositDesk(options)).take(PURCHASE, 'http://desk/deposits', undefined)
}

describe('a desk', () => {
  it('asks for a payment that is good for at most 300 seconds', async () => {
    const answer = await ask(NOW + 600)
    if (answer.kind !== 'payment-required') throw new Error(`expected to be asked, got ${answer.kind}`)
    expect(decodePaymentRequiredHeader(answer.required).accepts).toMatchObject([
      { scheme: 'exact', amount: '1000000000000000000', maxTimeoutSeconds: 300 },
    ])
  })

  it('asks for nothing when less than 600 seconds are left to answer it', async () => {
    expect(await ask(NOW + 599)).toEqual({ kind: 'refused', code: 'KEYSET_CLOSED' })
  })
})
