/**
 * Clearings: what this issuer signs about what was issued and captured. Only entries that a quorum of witnesses holds count, so that
 * nothing is claimed on chain that a crash could undo.
 *
 *   GET  /agent/clearings                { clearings }: the newest of each keyset that has something new, signed
 *   POST /agent/clearings/acknowledged   { keyset, enclaves: [{ enclave, captured }] }: these amounts are on chain
 *
 * @module
 */
import type { Hono } from 'hono'
import type { Hex } from '#protocol/bytes.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import type { SettlementDomain } from '#protocol/receipt/head.ts'
import {
  CLEARING_LINES_MAX,
  type ClearingAcknowledged,
  ClearingAcknowledgedSchema,
  type SignedClearing,
} from '#protocol/wire/agentApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import type { KeysetEntry } from './entry.ts'
import type { Ledger } from './ledger.ts'

type Totals = {
  issued: bigint
  captured: bigint
  readonly enclaves: Map<Hex, bigint>
  readonly acknowledged: Map<Hex, bigint>
  readonly gatewayOf: Map<Hex, Hex>
}

/** What is witnessed, keyset by keyset. */
export class ClearingBook {
  readonly #domain: SettlementDomain
  readonly #privateKey: Uint8Array
  readonly #totals = new Map<Hex, Totals>()

  constructor(domain: SettlementDomain, privateKey: Uint8Array) {
    this.#domain = domain
    this.#privateKey = privateKey
  }

  /** Begins with what earlier writers left. */
  adopt(ledgers: Iterable<Ledger>): void {
    for (const ledger of ledgers) {
      const totals = this.#of(ledger.keyset)
      totals.issued = ledger.totals.issued
      totals.captured = ledger.totals.captured
      for (const [enclave, units] of ledger.capturedBy) totals.enclaves.set(enclave, units)
      for (const id of ledger.openPayments) {
        const payment = ledger.payment(id)
        if (payment !== undefined) totals.gatewayOf.set(id, payment.gateway)
      }
    }
  }

  /** Takes in an entry that is witnessed, in the order of the log. */
  note(entry: KeysetEntry): void {
    const totals = this.#of(entry.keyset)
    if (entry.type === 'issue') totals.issued += entry.units
    if (entry.type === 'reserve') totals.gatewayOf.set(entry.payment, entry.gateway)
    if (entry.type !== 'capture') return
    const gateway = totals.gatewayOf.get(entry.payment)
    totals.gatewayOf.delete(entry.payment)
    totals.captured += entry.fee
    if (gateway === undefined || entry.fee === 0n) return
    totals.enclaves.set(gateway, (totals.enclaves.get(gateway) ?? 0n) + entry.fee)
  }

  /** The newest clearing of every keyset in which an enclave's total is not acknowledged yet. */
  clearings(): SignedClearing[] {
    const clearings: SignedClearing[] = []
    for (const [keyset, { issued, captured, enclaves, acknowledged }] of this.#totals) {
      const changed = [...enclaves].filter(([enclave, units]) => (acknowledged.get(enclave) ?? 0n) < units)
      if (changed.length === 0) continue
      // The rest follow when these are acknowledged.
      const lines = changed.slice(0, CLEARING_LINES_MAX).map(([enclave, units]) => ({ enclave, captured: units }))
      const clearing = { keyset, issued, captured, enclaves: lines }
      clearings.push(signClearing(clearing, this.#domain, this.#privateKey))
    }
    return clearings
  }

  /** These amounts need not be stated again. */
  acknowledge({ keyset, enclaves }: ClearingAcknowledged): void {
    const totals = this.#totals.get(keyset)
    for (const { enclave, captured } of enclaves) {
      const known = totals?.acknowledged.get(enclave) ?? 0n
      if (captured > known && totals?.enclaves.has(enclave)) totals.acknowledged.set(enclave, captured)
    }
  }

  #of(keyset: Hex): Totals {
    const known = this.#totals.get(keyset)
    if (known !== undefined) return known
    const totals: Totals = {
      issued: 0n,
      captured: 0n,
      enclaves: new Map(),
      acknowledged: new Map(),
      gatewayOf: new Map(),
    }
    this.#totals.set(keyset, totals)
    return totals
  }
}

/** Adds the clearings' routes to the agent interface, whose errors it shares. */
export function addClearingRoutes(app: Hono, book: ClearingBook): void {
  const json = { 'content-type': 'application/json' }
  app.get('/agent/clearings', (c) => c.body(toJson({ clearings: book.clearings() }), 200, json))
  app.post('/agent/clearings/acknowledged', async (c) => {
    book.acknowledge(parseJson(ClearingAcknowledgedSchema, await c.req.text(), 'acknowledgement'))
    return c.body('{}', 200, json)
  })
}
