/** The aggregator's HTTP interface: protocol/wire/aggregatorApi.ts. Nothing is logged per request. @module */
import { Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { AppError } from '#node/appError.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { addHealth } from '#node/server.ts'
import type { Hex } from '#protocol/bytes.ts'
import { SignedClearingSchema } from '#protocol/wire/agentApi.ts'
import {
  type AggregatorStatus,
  type Batch,
  type ClearingReceived,
  type EnclaveLog,
  HeadDeliverySchema,
  type HeadReceived,
} from '#protocol/wire/aggregatorApi.ts'
import { address, parseJson, uintOf, WireError } from '#protocol/wire/json.ts'
import { answer, bodyMax, parameter, refuse } from './appAnswers.ts'
import { type ClearingPorts, takeClearing } from './clearings.ts'
import type { AggregatorLimits } from './config.ts'
import type { SettlementFeed } from './events.ts'
import { addEventRoutes } from './eventsRoutes.ts'
import type { Intake } from './intake.ts'
import type { AggregatorMetrics } from './metrics.ts'
import { addOpenApiRoute } from './openapi.ts'
import type { Prover } from './proofs.ts'
import { addProofRoutes } from './proofsRoutes.ts'
import type { ProofStore } from './proofsStore.ts'
import type { LoopHealth } from './settleLoop.ts'
import type { LogStore, SettlementStore } from './store.ts'
import { addTileRoutes } from './tilesRoutes.ts'

export type AggregatorPorts = {
  readonly intake: Intake
  /** Told what became of deliveries, for whoever counts them. */
  readonly taken?: AggregatorMetrics['taken']
  readonly clearings: ClearingPorts
  readonly logs: LogStore
  readonly settlement: SettlementStore
  readonly prover: Prover
  readonly tiles: Pick<ProofStore, 'readTile'>
  readonly feed: SettlementFeed
  readonly account: Hex
  readonly health: LoopHealth
  readonly limits: AggregatorLimits
  readonly log: Logger
  /** Wakes the loop that settles. */
  readonly wake: () => void
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** A clearing of 256 lines takes about 25 kB. */
const CLEARING_BYTES_MAX = 65_536
/** Anyone may ask to settle now, once in this time. */
const SETTLE_REQUEST_EVERY_MS = 1_000

/** The aggregator as a Hono app. */
export function createAggregatorApp(ports: AggregatorPorts): Hono {
  const { logs, settlement, health } = ports
  const app = new Hono()
  app.use(readableByPages)
  // A question like those of GET, only too long for an address.
  app.use('/v1/proofs', cors({ origin: '*', allowMethods: ['POST'], allowHeaders: ['content-type'], maxAge: 86_400 }))
  addHealth(app, () => (health.failure === undefined ? [] : [`settling failed: ${health.failure}`]))

  const { bodyBytesMax } = ports.limits
  const headBytes = bodyMax(bodyBytesMax, `expected at most ${bodyBytesMax} bytes: deliver an older head first`)
  app.post('/v1/heads', withPlace(ports.intake, bodyBytesMax), headBytes, async (c) => {
    const delivery = parseJson(HeadDeliverySchema, await c.req.text(), 'head delivery')
    const result = await ports.intake.take(delivery)
    ports.taken?.('heads', result.ok ? 'accepted' : result.code)
    if (result.ok) return answer({ size: result.size } satisfies HeadReceived)
    return refuse(result.code, result.message, result.expectedFrom)
  })

  const clearingBytes = bodyMax(CLEARING_BYTES_MAX, `expected at most ${CLEARING_BYTES_MAX} bytes`)
  app.post('/v1/clearings', withPlace(ports.intake, CLEARING_BYTES_MAX), clearingBytes, async (c) => {
    const clearing = parseJson(SignedClearingSchema, await c.req.text(), 'clearing')
    const taken = await takeClearing(ports.clearings, clearing)
    ports.taken?.('clearings', taken.ok ? 'accepted' : taken.code)
    if (taken.ok) return answer({ clearing: taken.id } satisfies ClearingReceived)
    return refuse(taken.code, taken.message)
  })

  addProofRoutes(app, ports)
  addTileRoutes(app, ports)
  addEventRoutes(app, ports)

  let askedAt = Number.NEGATIVE_INFINITY
  app.post('/v1/settle', async () => {
    if (ports.now() - askedAt < SETTLE_REQUEST_EVERY_MS) return refuse('BUSY', 'somebody asked a moment ago')
    askedAt = ports.now()
    await settlement.askSettle(ports.account)
    ports.wake()
    return answer({ state: 'asked' }, 202)
  })

  app.get('/v1/enclaves/:id', async (c) => {
    const enclave = parameter(c, 'id', address)
    const summary = await logs.readEnclave(enclave)
    if (summary === undefined) return refuse('NOT_FOUND', 'no log of this enclave was delivered here')
    const { size, fees } = summary.head
    return answer({ enclave, size, fees, ...summary } satisfies EnclaveLog)
  })

  app.get('/v1/batches/:id', async (c) => {
    const entry = await settlement.readBatch(parameter(c, 'id', uintOf(63)))
    if (entry === undefined) return refuse('NOT_FOUND', 'no such batch on chain yet')
    const heads = entry.heads.map(({ enclave, size, root }) => ({ enclave, size, root }))
    return answer({ ...entry, heads } satisfies Batch)
  })

  app.get('/v1/status', async () => {
    const [held, settled] = await Promise.all([logs.readTotals(), settlement.readSettlementTotals()])
    const state = health.failure === undefined ? 'ok' : 'degraded'
    return answer({ state, ...held, ...settled, account: ports.account } satisfies AggregatorStatus)
  })

  addOpenApiRoute(app)
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
function withPlace(intake: Intake, bytesMax: number): MiddlewareHandler {
  return async (c, next) => {
    // What is not declared may be as long as a body can be.
    const bytes = Math.min(Number(c.req.header('content-length') ?? bytesMax), bytesMax)
    if (!intake.enter(bytes)) return refuse('BUSY', 'as many deliveries as fit are under way')
    try {
      await next()
    } finally {
      intake.leave(bytes)
    }
    return undefined
  }
}

/** What is public here may be read from any page. */
const readableByPages: MiddlewareHandler = async (c, next) => {
  await next()
  if (c.req.method === 'GET') c.header('access-control-allow-origin', '*')
}
