/** What the host of an issuer may ask about its keysets: public keys, and successions to submit. Interface: #protocol/wire/handoverApi.ts. @module */
import type { Hono } from 'hono'
import { type Hex, toBase64 } from '#protocol/bytes.ts'
import type { CompactSignature } from '#protocol/receipt/head.ts'
import type { AgentKeyset, AgentSuccessions, SignedSuccession } from '#protocol/wire/handoverApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { encodeKeys, type SecretKeyset } from './keysetKeys.ts'

export type KeysetFace = {
  readonly vault: Hex
  readonly keysets: () => readonly SecretKeyset[]
  /** The enclave's signature of its KeysetOffer for a keyset. */
  readonly sign: (keyset: Hex) => CompactSignature
  readonly successions: () => readonly SignedSuccession[]
}

/** Adds the routes to the agent interface, whose errors they share. */
export function addKeysetRoutes(app: Hono, { vault, keysets, sign, successions }: KeysetFace): void {
  const json = { 'content-type': 'application/json' }
  app.get('/agent/keysets', (c) => {
    const answer = keysets().map(({ id, keyset }): Record<keyof AgentKeyset, unknown> => {
      const { signUntil, spendUntil, exitUntil } = keyset
      return { keyset: id, keys: toBase64(encodeKeys(keyset)), signUntil, spendUntil, exitUntil, signature: sign(id) }
    })
    return c.body(toJson({ vault, keysets: answer }), 200, json)
  })
  app.get('/agent/successions', (c) => {
    const answer: AgentSuccessions = { vault, successions: successions() }
    return c.body(toJson(answer), 200, json)
  })
}
