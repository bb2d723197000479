/** The aggregator's HTTP interface: protocol/wire/aggregatorApi.ts. Nothing is logged per request. @module */
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import * as v from 'valibot'
import { AppError } from '#node/appError.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { addHealth } from '#node/server.ts'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { SignedClearingSchema } from '#protocol/wire/agentApi.ts'
import {
  type AggregatorErrorCode,
  type AggregatorStatus,
  type ApiError,
  type Batch,
  type ClearingReceived,
  type EnclaveLog,
  HeadDeliverySchema,
  type HeadReceived,
} from '#protocol/wire/aggregatorApi.ts'
import { address, hash, parseJson, parseShape, type Schema, toJson, uintOf, WireError } from '#protocol/wire/json.ts'
import { type ClearingPorts, takeClearing } from './clearings.ts'
import type { AggregatorLimits } from './config.ts'
import type { Intake } from './intake.ts'
import { type ProofPorts, proveLeaf } from './proofs.ts'
import type { LoopHealth } from './settleLoop.ts'

export type AggregatorPorts = {
  readonly intake: Intake
  readonly clearings: ClearingPorts
  readonly proofs: ProofPorts
  readonly account: Hex
  readonly health: LoopHealth
  readonly limits: AggregatorLimits
  readonly log: Logger
  /** Wakes the loop that settles. */
  readonly wake: () => void
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

const STATUS_OF: Readonly<Record<AggregatorErrorCode, number>> = {
  BAD_REQUEST: 400,
  UNKNOWN_ENCLAVE: 403,
  UNKNOWN_KEYSET: 403,
  NOT_FOUND: 404,
  GAP: 409,
  EQUIVOCATION: 409,
  BODY_TOO_LARGE: 413,
  BAD_SIGNATURE: 422,
  ROOT_MISMATCH: 422,
  HEAD_BACKWARDS: 422,
  BUSY: 503,
}

const RETRY_AFTER_SECONDS = 1
/** A clearing of 256 lines takes about 25 kB. */
const CLEARING_BYTES_MAX = 65_536
/** Anyone may ask to settle now, once in this time. */
const SETTLE_REQUEST_EVERY_MS = 1_000

/** The aggregator as a Hono app. */
export function createAggregatorApp(ports: AggregatorPorts): Hono {
  const { proofs, health } = ports
  const app = new Hono()
  app.use(readableByPages)
  addHealth(app, () => (health.failure === undefined ? [] : [`settling failed: ${health.failure}`]))

  const { bodyBytesMax } = ports.limits
  const headBytes = bodyMax(bodyBytesMax, `expected at most ${bodyBytesMax} bytes: deliver an older head first`)
  app.post('/v1/heads', withPlace(ports.intake), headBytes, async (c) => {
    const delivery = parseJson(HeadDeliverySchema, await c.req.text(), 'head delivery')
    const result = await ports.intake.take(delivery)
    if (result.ok) return answer({ size: result.size } satisfies HeadReceived)
    return refuse(result.code, result.message, result.expectedFrom)
  })

  const clearingBytes = bodyMax(CLEARING_BYTES_MAX, `expected at most ${CLEARING_BYTES_MAX} bytes`)
  app.post('/v1/clearings', withPlace(ports.intake), clearingBytes, async (c) => {
    const clearing = parseJson(SignedClearingSchema, await c.req.text(), 'clearing')
    const taken = await takeClearing(ports.clearings, clearing)
    if (taken.ok) return answer({ clearing: taken.id } satisfies ClearingReceived)
    return refuse(taken.code, taken.message)
  })

  app.get('/v1/proofs/:leaf', async (c) => {
    const proof = await proveLeaf(proofs, fromHex(parameter(c, 'leaf', hash), 32))
    if (proof === undefined) return refuse('NOT_FOUND', 'no log delivered here has this leaf')
    return proof.state === 'settled' ? answer(proof.settled) : answer(proof, 202)
  })

  let askedAt = Number.NEGATIVE_INFINITY
  app.post('/v1/settle', async () => {
    if (ports.now() - askedAt < SETTLE_REQUEST_EVERY_MS) return refuse('BUSY', 'somebody asked a moment ago')
    askedAt = ports.now()
    await proofs.settlement.askSettle(ports.account)
    ports.wake()
    return answer({ state: 'asked' }, 202)
  })

  app.get('/v1/enclaves/:id', async (c) => {
    const enclave = parameter(c, 'id', address)
    const summary = await proofs.logs.readEnclave(enclave)
    if (summary === undefined) return refuse('NOT_FOUND', 'no log of this enclave was delivered here')
    const { size, fees } = summary.head
    return answer({ enclave, size, fees, ...summary } satisfies EnclaveLog)
  })

  app.get('/v1/batches/:id', async (c) => {
    const entry = await proofs.settlement.readBatch(parameter(c, 'id', uintOf(63)))
    if (entry === undefined) return refuse('NOT_FOUND', 'no such batch on chain yet')
    const heads = entry.heads.map(({ enclave, size, root }) => ({ enclave, size, root }))
    return answer({ ...entry, heads } satisfies Batch)
  })

  app.get('/v1/status', async () => {
    const [logs, settlement] = await Promise.all([proofs.logs.readTotals(), proofs.settlement.readSettlementTotals()])
    const state = health.failure === undefined ? 'ok' : 'degraded'
    return answer({ state, ...logs, ...settlement, account: ports.account } satisfies AggregatorStatus)
  })

  app.notFound(() => refuse('NOT_FOUND', 'no such resource'))
  app.onError((error) => {
    if (error instanceof WireError) return refuse('BAD_REQUEST', error.message)
    ports.log.error('request failed', errorFields(error))
    const isChain = error instanceof AppError && error.code === 'RPC_FAILED'
    return refuse('BUSY', isChain ? 'the registry cannot be read now' : 'the aggregator cannot answer now')
  })
  return app
}

/** Refuses before a byte of the body is read: what waits would wait in memory. */
function withPlace(intake: Intake): MiddlewareHandler {
  return async (_c, next) => {
    if (!intake.enter()) return refuse('BUSY', 'as many deliveries as fit are under way')
    try {
      await next()
    } finally {
      intake.leave()
    }
    return undefined
  }
}

function bodyMax(maxSize: number, message: string): MiddlewareHandler {
  return bodyLimit({ maxSize, onError: () => refuse('BODY_TOO_LARGE', message) })
}

/** What is public here may be read from any page. */
const readableByPages: MiddlewareHandler = async (c, next) => {
  await next()
  if (c.req.method === 'GET') c.header('access-control-allow-origin', '*')
}

function parameter<T>(c: Context, name: string, schema: Schema<T>): T {
  return parseShape(v.pipe(v.unknown(), schema), c.req.param(name), name)
}

function answer(value: unknown, status = 200): Response {
  return new Response(toJson(value), { status, headers: { 'content-type': 'application/json' } })
}

function refuse(code: AggregatorErrorCode, message: string, expectedFrom?: bigint): Response {
  const body: ApiError = { error: { code, message, ...(expectedFrom === undefined ? {} : { expectedFrom }) } }
  const response = answer(body, STATUS_OF[code])
  if (code === 'BUSY') response.headers.set('retry-after', RETRY_AFTER_SECONDS.toString())
  return response
}
