/** How the aggregator reads requests and answers them. @module */
import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import * as v from 'valibot'
import type { AggregatorErrorCode, ApiError } from '#protocol/wire/aggregatorApi.ts'
import { parseShape, type Schema, toJson } from '#protocol/wire/json.ts'

/** HTTP status of each refusal. */
export const STATUS_OF: Readonly<Record<AggregatorErrorCode, number>> = {
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

/** What never changes may be kept for ever, by anybody. */
export const FOR_EVER = 'public, max-age=31536000, immutable'

export function answer(value: unknown, status = 200): Response {
  return answerJson(toJson(value), status)
}

/** `text` is JSON. */
export function answerJson(text: string, status = 200): Response {
  return new Response(text, { status, headers: { 'content-type': 'application/json' } })
}

export function refuse(code: AggregatorErrorCode, message: string, expectedFrom?: bigint): Response {
  const body: ApiError = { error: { code, message, ...(expectedFrom === undefined ? {} : { expectedFrom }) } }
  const response = answer(body, STATUS_OF[code])
  if (code === 'BUSY') response.headers.set('retry-after', RETRY_AFTER_SECONDS.toString())
  return response
}

/** A parameter of the path. Throws `WireError` naming it. */
export function parameter<T>(c: Context, name: string, schema: Schema<T>): T {
  return parseShape(v.pipe(v.unknown(), schema), c.req.param(name), name)
}

/** A parameter of the query; `undefined` when it is not there. Throws `WireError` naming it, also when it is there twice. */
export function queryParameter<T>(c: Context, name: string, schema: Schema<T>): T | undefined {
  const values = c.req.queries(name)
  if (values === undefined) return undefined
  return parseShape(v.pipe(v.unknown(), schema), values.length === 1 ? values[0] : values, name)
}

export function bodyMax(maxSize: number, message: string): MiddlewareHandler {
  return bodyLimit({ maxSize, onError: () => refuse('BODY_TOO_LARGE', message) })
}

/** Lets in `openMax` requests at once and asks the rest to come back. */
export function atMost(openMax: number): MiddlewareHandler {
  let open = 0
  return async (_c, next) => {
    if (open >= openMax) return refuse('BUSY', 'as many requests as fit are under way')
    open++
    try {
      await next()
    } finally {
      open--
    }
    return undefined
  }
}
