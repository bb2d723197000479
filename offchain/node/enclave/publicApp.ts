/**
 * An enclave role as relays see it: an RFC 9458 gateway resource and the two documents that let anyone check it.
 *
 *   POST /gateway      encapsulated request -> encapsulated response, single-shot and chunked
 *   GET  /ohttp-keys   application/ohttp-keys
 *   GET  /evidence     PublicEvidence (#protocol/wire/agentApi.ts): one common fresh document for everybody
 *
 * @module
 */
import { Hono } from 'hono'
import { addHealth } from '#node/server.ts'
import { toBase64 } from '#protocol/bytes.ts'
import { OHTTP_KEYS } from '#protocol/sealing/mediaTypes.ts'
import { toJson } from '#protocol/wire/json.ts'
import type { Enclave } from './enclave.ts'

/** `sealed` is the gateway resource; `notReady` says why it should get no new requests. */
export function createPublicApp(
  enclave: Enclave,
  sealed: (request: Request) => Promise<Response>,
  notReady: () => readonly string[],
): Hono {
  const app = new Hono()
  addHealth(app, notReady)
  app.all('/gateway', (c) => sealed(c.req.raw))
  app.get('/ohttp-keys', (c) => c.body(new Uint8Array(enclave.keyConfigs), 200, { 'content-type': OHTTP_KEYS }))
  app.get('/evidence', (c) => {
    const evidence = enclave.evidence()
    if (evidence === undefined) return c.body(null, 503)
    const body = toJson({ ...evidence, document: toBase64(evidence.document) })
    return c.body(body, 200, { 'content-type': 'application/json' })
  })
  return app
}
