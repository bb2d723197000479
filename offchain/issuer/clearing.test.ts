import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { hashClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey, recoverSigner } from '#protocol/receipt/head.ts'
import { CLEARING_LINES_MAX } from '#protocol/wire/agentApi.ts'
import { addClearingRoutes, ClearingBook } from './clearing.ts'
import type { KeysetEntry } from './entry.ts'
import { Ledger } from './ledger.ts'

const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const KEY = keccak256(Uint8Array.of(1))
const KEYSET: Hex = `0x${'aa'.repeat(32)}`
const word = (i: number): Hex => toHex(encodeUint(BigInt(i), 32))
const gateway = (i: number): Hex => toHex(encodeUint(BigInt(i + 1), 20))

const issue: KeysetEntry = { type: 'issue', keyset: KEYSET, deposit: word(1), outputs: word(2), units: 1_000_000n }
function spend(i: number, fee: bigint): KeysetEntry[] {
  const payment = word(1_000 + i)
  return [
    {
      type: 'reserve',
      keyset: KEYSET,
      payment,
      gateway: gateway(i),
      maximumFee: 16n,
      expiresAt: 1n,
      latestExpiry: 1n,
      blanks: word(3),
      inputs: [{ exponent: 4, spent: word(5_000 + i) }],
    },
    { type: 'capture', keyset: KEYSET, payment, fee, change: word(4) },
  ]
}

describe('a clearing', () => {
  it('is signed by the enclave over cumulative amounts, and stays until it is acknowledged', () => {
    const book = new ClearingBook(DOMAIN, KEY)
    for (const entry of [issue, ...spend(0, 3n), ...spend(1, 0n)]) book.note(entry)
    const [clearing] = book.clearings()
    if (clearing === undefined) throw new Error('expected a clearing')
    expect(clearing).toMatchObject({
      issued: 1_000_000n,
      captured: 3n,
      enclaves: [{ enclave: gateway(0), captured: 3n }],
    })
    expect(recoverSigner(hashClearing(clearing, DOMAIN), clearing)).toBe(enclaveOfKey(KEY))
    expect(book.clearings()).toEqual([clearing])
    book.acknowledge(clearing)
    expect(book.clearings()).toEqual([])
    for (const entry of spend(3, 2n)) book.note(entry)
    expect(book.clearings()).toMatchObject([{ captured: 5n, enclaves: [{ enclave: gateway(3), captured: 2n }] }])
  })

  it('lists as many enclaves as the contract takes, and the rest afterwards', () => {
    const book = new ClearingBook(DOMAIN, KEY)
    book.note(issue)
    const count = CLEARING_LINES_MAX + 3
    for (let i = 0; i < count; i++) for (const entry of spend(i, 1n)) book.note(entry)
    const [first] = book.clearings()
    expect(first?.enclaves).toHaveLength(CLEARING_LINES_MAX)
    expect(first?.captured).toBe(BigInt(count))
    if (first !== undefined) book.acknowledge(first)
    expect(book.clearings()[0]?.enclaves).toHaveLength(3)
  })

  it('goes on from what earlier writers captured, with their open payments', () => {
    const ledger = new Ledger(KEYSET)
    const [reserve, capture] = spend(7, 2n)
    for (const entry of [issue, ...spend(0, 3n), reserve]) if (entry !== undefined) ledger.apply(entry, -1)
    const book = new ClearingBook(DOMAIN, KEY)
    book.adopt([ledger])
    if (capture !== undefined) book.note(capture)
    expect(book.clearings()).toMatchObject([
      {
        captured: 5n,
        enclaves: [
          { enclave: gateway(0), captured: 3n },
          { enclave: gateway(7), captured: 2n },
        ],
      },
    ])
  })

  it('is served to the agent, whose word for another amount or keyset changes nothing', async () => {
    const book = new ClearingBook(DOMAIN, KEY)
    for (const entry of [issue, ...spend(0, 3n)]) book.note(entry)
    const app = new Hono()
    addClearingRoutes(app, book)
    const read = async () =>
      ((await (await app.request('/agent/clearings')).json()) as { clearings: unknown[] }).clearings
    const acknowledge = (keyset: Hex, enclave: Hex, captured: string) =>
      app.request('/agent/clearings/acknowledged', {
        method: 'POST',
        body: JSON.stringify({ keyset, enclaves: [{ enclave, captured }] }),
      })
    expect(await read()).toMatchObject([{ keyset: KEYSET, captured: '3' }])
    await acknowledge(word(9), gateway(0), '3')
    await acknowledge(KEYSET, gateway(1), '3')
    await acknowledge(KEYSET, gateway(0), '2')
    expect(await read()).toHaveLength(1)
    await acknowledge(KEYSET, gateway(0), '3')
    expect(await read()).toEqual([])
  })
})
