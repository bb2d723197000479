/**
 * What an issuer's enclave tells its host so that the host can speak for it at the vault: in time, and without the enclave reaching the chain.
 *
 *   GET  /agent/answers/{keyset}/{claimKey}   IssuedAnswer: what answered a deposit; 404 NOT_FOUND when nothing did
 *   POST /agent/spent                         SpentRequest -> SpentCredits: of these credits, those that were spent, with t
 *
 * A host that invents questions learns nothing that its own database does not hold. Beside #protocol/wire/agentApi.ts.
 * @module
 */
import * as v from 'valibot'
import type { Hex } from '../bytes.ts'
import { G1_BYTES } from '../credits/points.ts'
import type { CompactSignature } from '../receipt/head.ts'
import { address, base64Of, hash, hexOf, type Schema } from './json.ts'

/** Credits in one question. */
export const SPENT_QUESTION_MAX = 256
/** Outputs of one deposit at most: CREDITS_MAX of the vault. */
const OUTPUTS_MAX = 64

/** What `answerDeposit` of the vault takes: `exponents` one byte each, ascending; points 48 bytes each; the claim key's signature. */
export type IssuedAnswer = {
  readonly exponents: Uint8Array
  readonly blinded: Uint8Array
  readonly signatures: Uint8Array
} & CompactSignature

export type SpentRequest = { readonly credits: readonly Hex[] }

/** `secret` is t (32 bytes): with the exit key's address it makes up the credit's id, and shows that it was spent. */
export type SpentCredits = {
  readonly spent: readonly { readonly credit: Hex; readonly exitKey: Hex; readonly secret: Uint8Array }[]
}

export const IssuedAnswerSchema: Schema<IssuedAnswer> = v.object({
  exponents: base64Of(OUTPUTS_MAX),
  blinded: base64Of(OUTPUTS_MAX * G1_BYTES),
  signatures: base64Of(OUTPUTS_MAX * G1_BYTES),
  r: hexOf(32),
  vs: hexOf(32),
})

export const SpentRequestSchema: Schema<SpentRequest> = v.object({
  credits: v.pipe(v.array(hash), v.maxLength(SPENT_QUESTION_MAX)),
})

export const SpentCreditsSchema: Schema<SpentCredits> = v.object({
  spent: v.pipe(
    v.array(v.object({ credit: hash, exitKey: address, secret: base64Of(32) })),
    v.maxLength(SPENT_QUESTION_MAX),
  ),
})
