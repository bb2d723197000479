/**
 * Takes in issuers' clearings. Checked here is what costs little: size, bounds, and that the keyset's writer signed it; deposits are the
 * contract's to check. What is acknowledged is committed, and a repeat answers the same.
 * @module
 */
import { isSigner } from '#node/signatures.ts'
import type { Hex } from '#protocol/bytes.ts'
import { type Clearing, hashClearing } from '#protocol/receipt/clearing.ts'
import type { SettlementDomain } from '#protocol/receipt/head.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import type { AggregatorErrorCode } from '#protocol/wire/aggregatorApi.ts'
import type { RememberedReader } from './remembered.ts'
import type { StandingReader } from './standing.ts'
import type { ClearingStore } from './store.ts'

export type ClearingPorts = {
  readonly store: ClearingStore
  /** The enclave that may sign clearings of a keyset; `undefined` while nobody opened it. */
  readonly writerOf: RememberedReader<Hex | undefined>
  readonly standingOf: StandingReader
  readonly domain: SettlementDomain
}

/** `id` is the clearing's digest. */
export type ClearingTaken =
  | { readonly ok: true; readonly id: Hex }
  | { readonly ok: false; readonly code: ClearingRefusalCode; readonly message: string }

export type ClearingRefusalCode = Extract<
  AggregatorErrorCode,
  'BAD_REQUEST' | 'UNKNOWN_KEYSET' | 'UNKNOWN_ENCLAVE' | 'BAD_SIGNATURE' | 'BUSY'
>

/** Checks and stores one clearing. Throws what store and chain throw; every fault of the clearing itself is an answer. */
export async function takeClearing(ports: ClearingPorts, clearing: SignedClearing): Promise<ClearingTaken> {
  if (clearing.captured > clearing.issued || listsMoreThan(clearing.captured, clearing)) {
    return refuse('BAD_REQUEST', 'expected no more captured by one enclave than by all, and no more by all than issued')
  }
  const known = await ports.writerOf(clearing.keyset)
  if (known === undefined) return refuse('UNKNOWN_KEYSET', 'the vault knows no such keyset')
  const { r, vs, ...stated } = clearing
  const id = hashClearing(stated, ports.domain)
  const signedBy = (enclave: Hex) => isSigner(id, { r, vs }, enclave)
  // Another issuer may have taken its place since.
  const writer = signedBy(known) ? known : await ports.writerOf(clearing.keyset, { isDoubted: true })
  if (writer === undefined || !signedBy(writer)) {
    return refuse('BAD_SIGNATURE', "the keyset's writer did not sign this clearing for this chain and contract")
  }
  if ((await ports.standingOf(writer)) !== 'issuer') {
    return refuse('UNKNOWN_ENCLAVE', "the keyset's writer is no issuer that may still settle")
  }
  if ((await ports.store.accept(id, clearing)) === 'accepted') return { ok: true, id }
  return refuse('BUSY', 'as many clearings of this keyset as fit wait for the chain')
}

function listsMoreThan(total: bigint, { enclaves }: Clearing): boolean {
  return enclaves.some(({ captured }) => captured > total)
}

function refuse(code: ClearingRefusalCode, message: string): ClearingTaken {
  return { ok: false, code, message }
}
