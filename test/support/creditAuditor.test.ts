/** The auditor finds each thing that can be wrong with money, and nothing where nothing is. @module */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { publicKeyOf } from '#protocol/credits/blindSignature.ts'
import { creditMessage, hashToG1 } from '#protocol/credits/message.ts'
import { encodeEip2537G2, encodeG1 } from '#protocol/credits/points.ts'
import { keccak256 } from '#protocol/hash.ts'
import { audit, type ChainRecords, type ClientClaims, type IssuerRecords } from './creditAuditor.ts'
import type { HeldCredit, MadePayment } from './creditClientApi.ts'

const secretKeys = Array.from({ length: 24 }, (_, i) => BigInt(i + 2))
const domain = { chainId: 31_337, vault: `0x${'7a'.repeat(20)}`, keyset: `0x${'0c'.repeat(32)}` } as const
const gateway: Hex = `0x${'6a'.repeat(20)}`
const GIVEN = { fee: 5n, paid: 16n }

function credit(name: string, exponent: number): HeldCredit & { readonly id: Hex } {
  const secret = keccak256(encodeUtf8(name))
  const exitKey: Hex = `0x${'e1'.repeat(20)}`
  const message = creditMessage(domain, exitKey, secret)
  const signature = encodeG1(hashToG1(message).multiply(secretKeys[exponent] ?? 1n))
  return { exponent, exitKey, secret: toHex(secret), signature: toHex(signature), id: toHex(message) }
}

const nameOf = ({ id }: { readonly id: Hex }) => id.slice(2, 18)
const signed = (exponent: number) => ({ exponent, signature: new Uint8Array(48) })
const [paidWith, other] = [credit('paid with', 4), credit('another', 4)]
const held = [credit('change of 8', 3), credit('change of 2', 1), credit('change of 1', 0), credit('kept', 10)]
const payment: MadePayment = {
  id: `0x${'aa'.repeat(32)}`,
  gateway,
  locator: `0x${'ab'.repeat(32)}`,
  credits: [paidWith],
}
const second: MadePayment = { ...payment, id: `0x${'ba'.repeat(32)}`, locator: `0x${'bb'.repeat(32)}` }

type World = { chain: ChainRecords; issuer: IssuerRecords; client: ClientClaims }

/** 1,040 units were deposited: a credit of 16 was paid with, 5 of them were the fee, and the rest is held. */
function world(change: Partial<{ issuer: Partial<IssuerRecords>; client: Partial<ClientClaims> }> = {}): World {
  const keys = concatBytes(...secretKeys.map((key) => encodeEip2537G2(publicKeyOf(key))))
  const row = { locator: payment.locator, change: [signed(3), signed(1), signed(0)] }
  const receipts = new Map([[payment.id, GIVEN.fee]])
  return {
    chain: { ...domain, keys, deposited: 1_040n },
    issuer: { spent: [nameOf(paidWith)], payments: [row], ...change.issuer },
    client: { payments: [payment], receipts, held, open: [], ...change.client },
  }
}

const run = ({ chain, issuer, client }: World, fees: readonly bigint[] = []) => audit(chain, issuer, client, fees)
const reserved = { locator: payment.locator }

describe('where every unit is', () => {
  it('is clear when all is well', () => {
    const { faults, fees, capturedBy, ...units } = run(world())
    expect(faults).toEqual([])
    const nowhereElse = { unseen: 0n, reserved: 0n, untaken: 0n, missing: 0n }
    expect(units).toEqual({ deposited: 1_040n, held: 1_035n, captured: 5n, ...nowhereElse })
    expect([fees.get(payment.id), capturedBy.get(gateway)]).toEqual([GIVEN.fee, GIVEN.fee])
  })

  it('tells payments apart that no issuer has seen, that are reserved, and whose change was not taken', () => {
    const open = [payment.id]
    const [kept] = held.slice(-1)
    const client = { open, held: kept === undefined ? [] : [kept] }
    const unseen = run(world({ client, issuer: { spent: [], payments: [] } }))
    expect(unseen).toMatchObject({ faults: [], held: 1_024n, unseen: GIVEN.paid, missing: 0n })
    expect(run(world({ client, issuer: { payments: [reserved] } }))).toMatchObject({ faults: [], reserved: GIVEN.paid })
    expect(run(world({ client }))).toMatchObject({ faults: [], captured: GIVEN.fee, untaken: 11n })
  })

  it('takes a fee of 0, and where there is no receipt one that an answer may have cost', () => {
    const change = [signed(4)]
    expect(run(world({ issuer: { payments: [{ ...reserved, change }] } })).faults).toEqual([])
    const lost = world({ client: { receipts: new Map() } })
    expect(run(lost, [GIVEN.fee]).faults).toEqual([])
    expect(run(lost, [4n]).faults).toHaveLength(1)
  })
})

describe('it finds', () => {
  it('units that are in no place', () => {
    expect(run(world({ client: { held: held.slice(1) } }))).toMatchObject({ faults: [], missing: 8n })
    expect(run(world({ issuer: { spent: [], payments: [] } }))).toMatchObject({ faults: [], missing: 5n })
  })

  const bent = (signature: Hex): Hex => toHex(bls12_381.G1.Point.fromHex(signature.slice(2)).double().toBytes())
  const cases: [string, World, string][] = [
    [
      'a fee that the receipt does not say',
      world({ client: { receipts: new Map([[payment.id, 6n]]) } }),
      'not for what its receipt says',
    ],
    [
      'a credit in two payments',
      world({
        issuer: { payments: [{ locator: payment.locator }, { locator: second.locator }] },
        client: { payments: [payment, second] },
      }),
      'stands in the payments',
    ],
    [
      'a credit that was spent twice',
      world({ issuer: { spent: [nameOf(paidWith), nameOf(paidWith)] } }),
      'spent twice',
    ],
    [
      'a spent credit that nobody paid with',
      world({ issuer: { spent: [nameOf(paidWith), nameOf(other)] } }),
      'is not what',
    ],
    [
      'a payment that nobody made',
      world({ issuer: { payments: [{ locator: `0x${'cc'.repeat(32)}` }] } }),
      'nobody made',
    ],
    ['a held credit that was spent', world({ client: { held: [...held, paidWith] } }), 'which was spent'],
    ['a credit that is held twice', world({ client: { held: [...held, ...held.slice(0, 1)] } }), 'a credit twice'],
    [
      'a held credit that the keyset did not sign',
      world({ client: { held: held.map((one, i) => (i === 0 ? { ...one, signature: bent(one.signature) } : one)) } }),
      'did not sign',
    ],
    [
      'a held credit that claims to be worth more',
      world({ client: { held: held.map((one, i) => (i === 0 ? { ...one, exponent: 9 } : one)) } }),
      'did not sign',
    ],
  ]
  it.each(cases)('%s', (_, wrong, fault) => {
    expect(run(wrong).faults.join()).toContain(fault)
  })
})
