/** The ledger against a plain account of what happened, kept in the test in another way: by credits, not by totals. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { isRoundedFee } from '#protocol/credits/amounts.ts'
import { keccak256 } from '#protocol/hash.ts'
import { decodeEntry, encodeEntry, type KeysetEntry } from './entry.ts'
import { BEFORE, type Decision, hashState, Ledger } from './ledger.ts'

const KEYSET: Hex = `0x${'aa'.repeat(32)}`
const word = (kind: number, i: number): Hex => toHex(keccak256(Uint8Array.of(kind, i)))
const gatewayOf = (i: number): Hex => `0x${(0x10 + (i % 3)).toString(16).repeat(20)}`

/** What may be asked. Payment i always has the same credits, gateway and maximum fee, as its id says. */
type Operation =
  | { readonly kind: 'issue'; readonly deposit: number; readonly outputs: number; readonly exponent: number }
  | { readonly kind: 'reserve'; readonly payment: number }
  | { readonly kind: 'renew'; readonly payment: number; readonly until: number }
  | { readonly kind: 'capture'; readonly payment: number; readonly fee: number }
  /** Forget everything but the entries. */
  | { readonly kind: 'restart' }

const small = fc.integer({ min: 0, max: 7 })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    kind: fc.constant('issue' as const),
    deposit: small,
    outputs: fc.integer({ min: 0, max: 1 }),
    exponent: small,
  }),
  fc.record({ kind: fc.constant('reserve' as const), payment: small }),
  fc.record({ kind: fc.constant('renew' as const), payment: small, until: fc.integer({ min: 0, max: 300 }) }),
  fc.record({ kind: fc.constant('capture' as const), payment: small, fee: fc.integer({ min: 0, max: 40 }) }),
  fc.record({ kind: fc.constant('restart' as const) }),
)

/** Credits of each payment: secret number and exponent. Neighbours share a secret, some under another exponent. */
const creditsOf = (payment: number) => [
  { secret: payment, exponent: payment % 4 },
  { secret: payment + 1, exponent: (payment + 1) % 3 },
]
const maximumFeeOf = (payment: number) => BigInt(payment % 3)

const reserveOf = (payment: number) => ({
  payment: word(2, payment),
  gateway: gatewayOf(payment),
  maximumFee: maximumFeeOf(payment),
  expiresAt: 100n,
  latestExpiry: 200n,
  blanks: word(3, payment),
  inputs: creditsOf(payment).map(({ secret, exponent }) => ({ exponent, spent: word(4, secret) })),
})

/** The account: units in circulation, secrets gone, and payments by hand. */
class Account {
  readonly deposits = new Map<number, number>()
  readonly spent = new Set<number>()
  readonly open = new Map<number, bigint>()
  readonly captured = new Map<number, bigint>()
  issued = 0n
  circulating = 0n

  /** The code of the refusal, `again` for a repeat, `done`. */
  do(operation: Exclude<Operation, { kind: 'restart' }>): string {
    switch (operation.kind) {
      case 'issue': {
        const known = this.deposits.get(operation.deposit)
        if (known !== undefined) return known === operation.outputs ? 'again' : 'DEPOSIT_CLOSED'
        this.deposits.set(operation.deposit, operation.outputs)
        this.issued += 1n << BigInt(operation.exponent)
        this.circulating += 1n << BigInt(operation.exponent)
        return 'done'
      }
      case 'reserve': {
        const { payment } = operation
        if (this.captured.has(payment)) return 'SPENT'
        if (this.open.has(payment)) return 'again'
        const credits = creditsOf(payment)
        const units = credits.reduce((sum, { exponent }) => sum + (1n << BigInt(exponent)), 0n)
        if (credits.some(({ secret }) => this.spent.has(secret))) return 'SPENT'
        if (units > this.circulating) return 'BAD_CREDIT'
        for (const { secret } of credits) this.spent.add(secret)
        this.circulating -= units
        this.open.set(payment, 100n)
        return 'done'
      }
      case 'renew': {
        if (this.captured.has(operation.payment)) return 'ALREADY_CAPTURED'
        const expiry = this.open.get(operation.payment)
        if (expiry === undefined) return 'UNKNOWN_PAYMENT'
        const until = BigInt(Math.min(operation.until, 200))
        if (until <= expiry) return 'again'
        this.open.set(operation.payment, until)
        return 'done'
      }
      case 'capture': {
        const { payment } = operation
        const fee = BigInt(operation.fee)
        const known = this.captured.get(payment)
        if (known !== undefined) return known === fee ? 'again' : 'ALREADY_CAPTURED'
        if (!this.open.has(payment)) return 'UNKNOWN_PAYMENT'
        if (!isRoundedFee(fee)) return 'BAD_REQUEST'
        if (fee > maximumFeeOf(payment)) return 'FEE_TOO_HIGH'
        this.open.delete(payment)
        this.captured.set(payment, fee)
        const units = creditsOf(payment).reduce((sum, { exponent }) => sum + (1n << BigInt(exponent)), 0n)
        this.circulating += units - fee
        return 'done'
      }
    }
  }
}

function decide(ledger: Ledger, operation: Exclude<Operation, { kind: 'restart' }>): Decision<KeysetEntry> {
  switch (operation.kind) {
    case 'issue':
      return ledger.decideIssue({
        deposit: word(1, operation.deposit),
        outputs: word(5, operation.outputs),
        units: 1n << BigInt(operation.exponent),
      })
    case 'reserve':
      return ledger.decideReserve(reserveOf(operation.payment))
    case 'renew':
      return ledger.decideRenew(word(2, operation.payment), BigInt(operation.until))
    case 'capture':
      return ledger.decideCapture({ payment: word(2, operation.payment), fee: BigInt(operation.fee), change: KEYSET })
  }
}

function replay(encoded: readonly Uint8Array[]): Ledger {
  const ledger = new Ledger(KEYSET)
  for (const bytes of encoded) {
    const entry = decodeEntry(bytes)
    if (entry.type === 'adopt') throw new Error('expected entries of the keyset')
    const decision = ledger.decide(entry)
    if (decision.kind !== 'append') throw new Error('expected an entry that follows')
    expect(encodeEntry(decision.entry)).toEqual(bytes)
    ledger.apply(decision.entry, BEFORE)
  }
  return ledger
}

describe('a ledger', () => {
  it('agrees with a plain account after every operation, restarted anywhere', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80, size: 'max' }), (operations) => {
        const account = new Account()
        const entries: Uint8Array[] = []
        let ledger = new Ledger(KEYSET)
        for (const next of operations) {
          if (next.kind === 'restart') {
            const state = hashState([ledger])
            ledger = replay(entries)
            expect(hashState([ledger])).toBe(state)
            continue
          }
          const decision = decide(ledger, next)
          const outcome = { append: 'done', known: 'again', refused: 'code' in decision ? decision.code : '' }
          expect(outcome[decision.kind]).toBe(account.do(next))
          if (decision.kind === 'append') {
            ledger.apply(decision.entry, entries.length)
            entries.push(encodeEntry(decision.entry))
          }
          const fees = [...account.captured.values()].reduce((sum, fee) => sum + fee, 0n)
          const { issued, captured, reserved } = ledger.totals
          expect({ issued, captured }).toEqual({ issued: account.issued, captured: fees })
          expect(issued - captured - reserved).toBe(account.circulating)
          expect([...ledger.capturedBy.values()].reduce((sum, units) => sum + units, 0n)).toBe(fees)
          expect(ledger.openPayments.size).toBe(account.open.size)
        }
        for (const [payment, until] of account.open) {
          expect(ledger.payment(word(2, payment))).toMatchObject({ state: 'open', expiresAt: until })
        }
      }),
      { seed: 6, numRuns: 400 },
    )
  })

  it('says where the entry stands that a repeat or a refusal rests on', () => {
    const ledger = new Ledger(KEYSET)
    const take = (decision: Decision<KeysetEntry>, position: number) => {
      if (decision.kind !== 'append') throw new Error('expected a new entry')
      ledger.apply(decision.entry, position)
    }
    take(ledger.decideIssue({ deposit: word(1, 0), outputs: word(5, 0), units: 1_000n }), 10)
    take(ledger.decideReserve(reserveOf(1)), 11)
    expect(ledger.decideIssue({ deposit: word(1, 0), outputs: word(5, 0), units: 1_000n })).toMatchObject({
      position: 10,
    })
    expect(ledger.decideReserve(reserveOf(1))).toEqual({ kind: 'known', position: 11 })
    expect(ledger.decideReserve(reserveOf(2))).toMatchObject({ kind: 'refused', code: 'SPENT', position: 11 })
    expect(ledger.spentAt(word(4, 2))).toBe(11)
    take(ledger.decideCapture({ payment: word(2, 1), fee: 1n, change: KEYSET }), 12)
    expect(ledger.decideCapture({ payment: word(2, 1), fee: 1n, change: KEYSET })).toEqual({
      kind: 'known',
      position: 12,
    })
  })

  it('refuses a payment that names a credit twice, or a fee its credits cannot pay', () => {
    const ledger = new Ledger(KEYSET)
    const [input] = reserveOf(1).inputs
    if (input === undefined) throw new Error('expected an input')
    expect(ledger.decideReserve({ ...reserveOf(1), inputs: [input, input] })).toMatchObject({ code: 'BAD_PAYMENT' })
    expect(ledger.decideReserve({ ...reserveOf(1), maximumFee: 64n })).toMatchObject({ code: 'BAD_PAYMENT' })
    expect(ledger.decideReserve({ ...reserveOf(1), maximumFee: 33n })).toMatchObject({ code: 'BAD_PAYMENT' })
  })

  it('takes in nothing of another keyset, and no capture without its reserve', () => {
    const ledger = new Ledger(KEYSET)
    const capture = { type: 'capture', payment: word(2, 1), fee: 0n, change: KEYSET } as const
    expect(() => ledger.apply({ ...capture, keyset: word(9, 9) }, 0)).toThrow('belongs to the ledger of its keyset')
    expect(() => ledger.apply({ ...capture, keyset: KEYSET }, 0)).toThrow('follows its reserve')
  })
})

it('the hash of a state depends on every total, gateway and open payment, not on the order of keysets', () => {
  const ledger = new Ledger(KEYSET)
  const hashes = new Set([hashState([]), hashState([ledger])])
  const steps: Decision<KeysetEntry>[] = []
  const step = (decision: Decision<KeysetEntry>) => {
    steps.push(decision)
    if (decision.kind === 'append') ledger.apply(decision.entry, 0)
    hashes.add(hashState([ledger]))
  }
  step(ledger.decideIssue({ deposit: word(1, 0), outputs: word(5, 0), units: 1_000n }))
  step(ledger.decideReserve(reserveOf(1)))
  step(ledger.decideCapture({ payment: word(2, 1), fee: 1n, change: KEYSET }))
  expect(hashes.size).toBe(2 + steps.length)
  const other = new Ledger(word(8, 8))
  expect(hashState([ledger, other])).toBe(hashState([other, ledger]))
})
