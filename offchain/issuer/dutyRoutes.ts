/** What an issuer's host needs to speak for it at the vault: answers to deposits that are asked back, and t of credits that are exited although they were spent. Interface: #protocol/wire/vaultDutyApi.ts. @module */
import type { Hono } from 'hono'
import * as v from 'valibot'
import type { SignerPool } from '#node/credits/signerPool.ts'
import { type Hex, joinBytes, toBase64 } from '#protocol/bytes.ts'
import { G1_BYTES } from '#protocol/credits/points.ts'
import { address, hash, parseJson, parseShape, toJson } from '#protocol/wire/json.ts'
import { type IssuedAnswer, type SpentCredits, SpentRequestSchema } from '#protocol/wire/vaultDutyApi.ts'
import type { IssuerStore } from './store.ts'

export type DutyFace = {
  readonly store: Pick<IssuerStore, 'readIssue' | 'readSpent'>
  /** Of every keyset that this issuer has the keys of. */
  readonly signerOf: (keyset: Hex) => Pick<SignerPool, 'signBlanks'> | undefined
}

const AnswerPathSchema = v.object({ keyset: hash, claimKey: address })

/** Adds the routes to the agent interface, whose errors they share. */
export function addDutyRoutes(app: Hono, { store, signerOf }: DutyFace): void {
  const json = { 'content-type': 'application/json' }
  app.get('/agent/answers/:keyset/:claimKey', async (c) => {
    const { keyset, claimKey } = parseShape(AnswerPathSchema, c.req.param(), 'deposit')
    const issued = await store.readIssue(keyset, claimKey)
    const signer = signerOf(keyset)
    if (issued === undefined || signer === undefined) {
      return c.body(toJson({ error: { code: 'NOT_FOUND', message: 'nothing was issued for it here' } }), 404, json)
    }
    const { exponents, blinded, signature } = issued
    // The same outputs get the same signatures, whenever they are asked for.
    const outputs = Array.from(exponents, (exponent, i) => ({
      exponent,
      blinded: blinded.slice(i * G1_BYTES, (i + 1) * G1_BYTES),
    }))
    const signatures = joinBytes(await signer.signBlanks(outputs))
    const answer: Record<keyof IssuedAnswer, string> = {
      exponents: toBase64(exponents),
      blinded: toBase64(blinded),
      signatures: toBase64(signatures),
      ...signature,
    }
    return c.body(toJson(answer), 200, json)
  })
  app.post('/agent/spent', async (c) => {
    const { credits } = parseJson(SpentRequestSchema, await c.req.text(), 'question for spent credits')
    const found = await Promise.all(credits.map((credit) => store.readSpent(credit)))
    const spent = found
      .filter((entry) => entry !== undefined)
      .map(
        (entry): Record<keyof SpentCredits['spent'][number], string> => ({ ...entry, secret: toBase64(entry.secret) }),
      )
    return c.body(toJson({ spent }), 200, json)
  })
}
