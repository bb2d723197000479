/**
 * What this aggregator serves, as an OpenAPI 3.1 description (spec.openapis.org/oas/v3.1.1). Shapes are read from the schemas that the
 * routes parse and clients check with; which routes there are, and that their answers have these shapes, is tested.
 * @module
 */
import type { Hono } from 'hono'
import { TILE_WIDTH } from '#protocol/log/tiles.ts'
import { SignedClearingSchema } from '#protocol/wire/agentApi.ts'
import {
  type AggregatorErrorCode,
  AggregatorStatusSchema,
  ApiErrorSchema,
  BatchSchema,
  ClearingReceivedSchema,
  EnclaveLogSchema,
  HeadDeliverySchema,
  HeadReceivedSchema,
  LeafProofsSchema,
  ProofsRequestSchema,
  SettlementEventSchema,
  WithdrawnEventSchema,
} from '#protocol/wire/aggregatorApi.ts'
import { address, hash, type Schema, uintOf } from '#protocol/wire/json.ts'
import { SettledLeafSchema } from '#protocol/wire/receiptFile.ts'
import { STATUS_OF } from './appAnswers.ts'
import { type JsonSchema, jsonSchemaOf } from './openapiSchema.ts'

const SCHEMAS = {
  HeadDelivery: HeadDeliverySchema,
  HeadReceived: HeadReceivedSchema,
  SignedClearing: SignedClearingSchema,
  ClearingReceived: ClearingReceivedSchema,
  ProofsRequest: ProofsRequestSchema,
  LeafProofs: LeafProofsSchema,
  SettledLeaf: SettledLeafSchema,
  SettlementEvent: SettlementEventSchema,
  WithdrawnEvent: WithdrawnEventSchema,
  EnclaveLog: EnclaveLogSchema,
  Batch: BatchSchema,
  AggregatorStatus: AggregatorStatusSchema,
  ApiError: ApiErrorSchema,
} as const satisfies Record<string, Schema<unknown>>

type SchemaName = keyof typeof SCHEMAS

type Answer = { readonly description: string; readonly content?: Readonly<Record<string, JsonSchema>> }

type Parameter = {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly description: string
  readonly schema: Schema<unknown>
}

type Operation = {
  readonly summary: string
  readonly parameters?: readonly Parameter[]
  readonly body?: SchemaName
  readonly answers: Readonly<Record<number, Answer>>
  readonly refusals: readonly AggregatorErrorCode[]
}

type Path = Readonly<Partial<Record<'get' | 'post', Operation>>>

const enclaveAddress = 'address of the enclave'
const size: Parameter = {
  name: 'size',
  in: 'query',
  description: 'leaves of the settled head to prove at; without it the smallest that covers the leaf',
  schema: uintOf(53),
}
const asked = stateAnswer('asked')
const pending = stateAnswer('pending')

const PATHS: Readonly<Record<string, Path>> = {
  '/v1/heads': {
    post: {
      summary: 'Deliver a signed head with its leaves. A repeat answers the same.',
      body: 'HeadDelivery',
      answers: { 200: json('the leaves now held durably', 'HeadReceived') },
      refusals: [
        'BAD_REQUEST',
        'UNKNOWN_ENCLAVE',
        'GAP',
        'EQUIVOCATION',
        'BODY_TOO_LARGE',
        'BAD_SIGNATURE',
        'ROOT_MISMATCH',
        'HEAD_BACKWARDS',
        'BUSY',
      ],
    },
  },
  '/v1/clearings': {
    post: {
      summary: 'Deliver a clearing that an issuer signed. A repeat answers the same.',
      body: 'SignedClearing',
      answers: { 200: json('the clearing is held durably', 'ClearingReceived') },
      refusals: ['BAD_REQUEST', 'UNKNOWN_KEYSET', 'UNKNOWN_ENCLAVE', 'BODY_TOO_LARGE', 'BAD_SIGNATURE', 'BUSY'],
    },
  },
  '/v1/proofs/{leaf}': {
    get: {
      summary: 'The settled proof of a leaf.',
      parameters: [{ name: 'leaf', in: 'path', description: 'the leaf', schema: hash }, size],
      answers: {
        200: json('settled; immutable once its block is final', 'SettledLeaf'),
        202: { description: 'no settled head covers it yet', content: { 'application/json': pending } },
        304: { description: 'the proof with the tag of `if-none-match` still holds' },
      },
      refusals: ['BAD_REQUEST', 'NOT_FOUND', 'BUSY'],
    },
  },
  '/v1/proofs': {
    post: {
      summary: 'Proofs of many leaves. What proofs at one head share is said once.',
      body: 'ProofsRequest',
      answers: { 200: json('one entry for each leaf, in their order', 'LeafProofs') },
      refusals: ['BAD_REQUEST', 'BODY_TOO_LARGE', 'BUSY'],
    },
  },
  '/v1/tiles/{enclave}/{level}/{index}': {
    get: {
      summary: 'Nodes of a log: those of row 8 * level of its tree from 256 * index on, 32 bytes each. Immutable.',
      parameters: [
        { name: 'enclave', in: 'path', description: enclaveAddress, schema: address },
        { name: 'level', in: 'path', description: '0 for leaves', schema: uintOf(8) },
        { name: 'index', in: 'path', description: 'position among the tiles of the level', schema: uintOf(45) },
        { name: 'width', in: 'query', description: `how many nodes, ${TILE_WIDTH} unless told`, schema: uintOf(16) },
      ],
      answers: { 200: { description: 'the nodes', content: { 'application/octet-stream': {} } } },
      refusals: ['BAD_REQUEST', 'NOT_FOUND', 'BUSY'],
    },
  },
  '/v1/settlements': {
    get: {
      summary: 'Server-sent events: `settled` with a SettlementEvent, `withdrawn` with a WithdrawnEvent.',
      parameters: [
        { name: 'from', in: 'query', description: 'first batch to tell; without it new ones only', schema: uintOf(63) },
        { name: 'last-event-id', in: 'header', description: 'go on after this event', schema: uintOf(63) },
      ],
      answers: { 200: { description: 'the stream', content: { 'text/event-stream': { type: 'string' } } } },
      refusals: ['BAD_REQUEST', 'BUSY'],
    },
  },
  '/v1/settle': {
    post: {
      summary: 'Settle what is due now. Once a second.',
      answers: { 202: { description: 'noted', content: { 'application/json': asked } } },
      refusals: ['BUSY'],
    },
  },
  '/v1/enclaves/{id}': {
    get: {
      summary: 'How much of a log is held and settled, with its newest head.',
      parameters: [{ name: 'id', in: 'path', description: enclaveAddress, schema: address }],
      answers: { 200: json('the log', 'EnclaveLog') },
      refusals: ['BAD_REQUEST', 'NOT_FOUND', 'BUSY'],
    },
  },
  '/v1/batches/{id}': {
    get: {
      summary: 'A batch as the chain has it.',
      parameters: [{ name: 'id', in: 'path', description: 'number of the batch', schema: uintOf(63) }],
      answers: { 200: json('the batch', 'Batch') },
      refusals: ['BAD_REQUEST', 'NOT_FOUND', 'BUSY'],
    },
  },
  '/v1/status': {
    get: {
      summary: 'Totals.',
      answers: { 200: json('how this aggregator does', 'AggregatorStatus') },
      refusals: ['BUSY'],
    },
  },
  '/healthz': {
    get: {
      summary: 'Whether the process answers.',
      answers: { 200: { description: 'it does', content: { 'application/json': stateAnswer('ok') } } },
      refusals: [],
    },
  },
  '/readyz': {
    get: {
      summary: 'Whether it can do its work.',
      answers: {
        200: { description: 'it can', content: { 'application/json': readiness('ready') } },
        503: { description: 'it cannot, and why', content: { 'application/json': readiness('not ready') } },
      },
      refusals: [],
    },
  },
  '/openapi.json': {
    get: {
      summary: 'This description.',
      answers: { 200: { description: 'OpenAPI 3.1', content: { 'application/json': { type: 'object' } } } },
      refusals: [],
    },
  },
}

/** The description as plain data. */
export function describeApi(): JsonSchema {
  return {
    openapi: '3.1.1',
    info: { title: 'Sealpath aggregator', version: '1', description: 'Specified in docs/spec.md section 8.' },
    servers: [{ url: '/' }],
    paths: mapValues(PATHS, (path) => mapValues(path, describeOperation)),
    components: { schemas: mapValues(SCHEMAS, jsonSchemaOf) },
  }
}

export function addOpenApiRoute(app: Hono): void {
  const text = JSON.stringify(describeApi())
  app.get('/openapi.json', () => new Response(text, { headers: { 'content-type': 'application/json' } }))
}

function describeOperation({ summary, parameters, body, answers, refusals }: Operation): JsonSchema {
  return {
    summary,
    ...(parameters === undefined ? {} : { parameters: parameters.map(describeParameter) }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: contentOf(json('', body)) } }),
    responses: {
      ...mapValues(answers, (answer) => ({
        description: answer.description,
        ...(answer.content === undefined ? {} : { content: contentOf(answer) }),
      })),
      ...describeRefusals(refusals),
    },
  }
}

function describeParameter({ name, in: place, description, schema }: Parameter): JsonSchema {
  return { name, in: place, description, required: place === 'path', schema: jsonSchemaOf(schema) }
}

function describeRefusals(codes: readonly AggregatorErrorCode[]): JsonSchema {
  const byStatus = new Map<number, AggregatorErrorCode[]>()
  for (const code of codes) byStatus.set(STATUS_OF[code], [...(byStatus.get(STATUS_OF[code]) ?? []), code])
  return Object.fromEntries(
    [...byStatus].map(([status, own]) => [
      status,
      { description: own.join(', '), content: contentOf(json('', 'ApiError')) },
    ]),
  )
}

function contentOf({ content = {} }: Answer): JsonSchema {
  return mapValues(content, (schema) => ({ schema }))
}

function json(description: string, name: SchemaName): Answer {
  return { description, content: { 'application/json': { $ref: `#/components/schemas/${name}` } } }
}

function stateAnswer(state: string): JsonSchema {
  return { type: 'object', properties: { state: { const: state } }, required: ['state'] }
}

function readiness(state: string): JsonSchema {
  const reasons = { type: 'array', items: { type: 'string' } }
  return { type: 'object', properties: { state: { const: state }, reasons }, required: ['state', 'reasons'] }
}

function mapValues<T, R>(record: Readonly<Record<string, T>>, map: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}
