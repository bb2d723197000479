/**
 * The enclave's face towards its host: what the operator agent may ask. Interface: #protocol/wire/agentApi.ts.
 * The host is untrusted. It learns public values, padded sizes and, at ticks, totals.
 * @module
 */
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { errorFields, type Logger } from '#node/log.ts'
import { fromHex, toBase64 } from '#protocol/bytes.ts'
import {
  AcknowledgedSchema,
  type AgentLog,
  type EvidenceAnswer,
  EvidenceRequestSchema,
  type KeysOffer,
  KeysUseSchema,
  LOG_LEAVES_MAX,
} from '#protocol/wire/agentApi.ts'
import { parseJson, toJson, WireError } from '#protocol/wire/json.ts'
import type { Enclave } from './enclave.ts'
import { type ReceiptLog, ReceiptLogError } from './receiptLog.ts'
import { SealingKeysError } from './sealingKeys.ts'

/** Longest request taken from the host: a question for as many credits as one may have, and more. */
const REQUEST_BYTES_MAX = 65_536

export function createAgentApp(enclave: Enclave, receipts: ReceiptLog, log: Logger): Hono {
  const app = new Hono()
  const tooLarge = (c: Context) =>
    json(c, { error: { code: 'BODY_TOO_LARGE', message: `expected at most ${REQUEST_BYTES_MAX} bytes` } }, 413)
  app.use(bodyLimit({ maxSize: REQUEST_BYTES_MAX, onError: tooLarge }))
  app.get('/agent/status', (c) => json(c, { ...enclave.status, keyConfigs: toBase64(enclave.status.keyConfigs) }))
  app.post('/agent/evidence', async (c) => {
    const { nonce } = parseJson(EvidenceRequestSchema, await c.req.text(), 'evidence request')
    const document = await enclave.renewEvidence(fromHex(nonce, 32))
    log.info('evidence renewed', { bytes: document.length })
    const answer: Record<keyof EvidenceAnswer, string> = { document: toBase64(document) }
    return json(c, answer)
  })
  app.post('/agent/keys/next', async (c) => {
    const answer: KeysOffer = await enclave.nextKeys()
    return json(c, answer)
  })
  app.post('/agent/keys/use', async (c) => {
    const { hash } = parseJson(KeysUseSchema, await c.req.text(), 'keys to use')
    await enclave.useKeys(hash)
    log.info('keys changed', { keyConfigs: hash })
    return json(c, {})
  })
  app.get('/agent/log', (c) => {
    const from = Number(c.req.query('from') ?? '0')
    if (!Number.isSafeInteger(from) || from < 0) throw new WireError('BAD_SHAPE', 'from is not a position in the log')
    const { leaves, head } = receipts.read(from, LOG_LEAVES_MAX)
    const answer: Omit<AgentLog, 'leaves' | 'head'> = { from: BigInt(from) }
    return json(c, {
      ...answer,
      leaves: toBase64(leaves),
      ...(head === undefined
        ? {}
        : {
            head: {
              enclave: head.head.enclave,
              size: head.head.size,
              root: head.head.root,
              fees: head.head.fees,
              signature: head.signature,
            },
          }),
    })
  })
  app.post('/agent/acknowledged', async (c) => {
    const { size } = parseJson(AcknowledgedSchema, await c.req.text(), 'acknowledgement')
    receipts.acknowledge(Number(size))
    return json(c, {})
  })
  app.onError((error, c) => {
    if (error instanceof WireError) return json(c, { error: { code: error.code, message: error.message } }, 400)
    if (error instanceof ReceiptLogError || error instanceof SealingKeysError)
      return json(c, { error: { code: error.code, message: error.message } }, 409)
    log.error('agent request failed', errorFields(error))
    return json(c, { error: { code: 'FAILED', message: 'the gateway could not do this' } }, 500)
  })
  return app
}

function json(c: Context, value: unknown, status: 200 | 400 | 409 | 413 | 500 = 200): Response {
  return c.body(toJson(value), status, { 'content-type': 'application/json' })
}
