/** What an issuer answers inside its seal: #protocol/wire/issuerApi.ts and, to other issuers, handoverApi.ts. Nothing is logged per request. @module */

import { AppError } from '#node/appError.ts'
import { SignerPoolError } from '#node/credits/signerPool.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { BytesError, decodeUtf8, encodeUtf8, toBase64 } from '#protocol/bytes.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { CHUNK_BYTES_SEND } from '#protocol/sealing/chunkSealing.ts'
import { HANDOVER_STATUS, HandoverRequestSchema } from '#protocol/wire/handoverApi.ts'
import {
  CaptureRequestSchema,
  CHANGE_TILE_MAX,
  ISSUER_STATUS,
  IssueRequestSchema,
  type IssuerErrorCode,
  RenewRequestSchema,
  ReserveRequestSchema,
} from '#protocol/wire/issuerApi.ts'
import { parseJson, type Schema, toJson, WireError } from '#protocol/wire/json.ts'
import { type Handover, HandoverError } from './handover.ts'
import { IssuerError } from './issuerError.ts'
import { issue } from './issuing.ts'
import { capture, renew, reserve } from './payments.ts'
import { type IssuerPorts, keysetOf, keysetsToAsk } from './ports.ts'
import type { IssuerStore } from './store.ts'

export type IssuerAppOptions = {
  readonly ports: IssuerPorts
  readonly store: Pick<IssuerStore, 'readChange' | 'readSpentIds'>
  /** Absent for an issuer that hands nothing over. */
  readonly handover?: Handover
  /** Requests answered at once; above it callers are told to come back. */
  readonly openMax: number
  /** Told what failed that is no answer. */
  readonly onFault: (error: unknown) => void
}

const TILE_PATH = /^\/v1\/(change|spent)\/(0x[0-9a-f]{64})\/([0-9a-f]{1,8})$/

/** The handler behind the sealed server. Never rejects. */
export function createIssuerApp(options: IssuerAppOptions): (request: InnerRequest) => Promise<InnerResponse> {
  let open = 0
  return async (request) => {
    if (open >= options.openMax) return refuse('UNAVAILABLE', 'as many requests as fit are under way')
    open++
    try {
      return answer(await route(options, request))
    } catch (error) {
      return refusal(options, error)
    } finally {
      open--
    }
  }
}

async function route({ ports, store, handover }: IssuerAppOptions, request: InnerRequest): Promise<unknown> {
  const { method, path } = request
  if (method === 'POST') {
    switch (path) {
      case '/v1/issue': {
        const { signatures } = await issue(ports, parse(IssueRequestSchema, request))
        return { signatures: signatures.map(toBase64) }
      }
      case '/v1/reserve':
        return reserve(ports, parse(ReserveRequestSchema, request))
      case '/v1/renew':
        return renew(ports, parse(RenewRequestSchema, request))
      case '/v1/capture': {
        const { fee, sealedChange } = await capture(ports, parse(CaptureRequestSchema, request))
        return sealedChange === undefined ? { fee } : { fee, sealedChange: toBase64(sealedChange) }
      }
      case '/v1/handover': {
        if (handover === undefined) break
        const { sealed } = await handover(parse(HandoverRequestSchema, request))
        return { sealed: toBase64(sealed) }
      }
    }
  }
  if (method === 'GET' && path === '/v1/keysets') return { keysets: keysetsToAsk(ports) }
  const [, kind, keyset, prefix] = method === 'GET' ? (TILE_PATH.exec(path) ?? []) : []
  if (keyset === undefined || prefix === undefined) throw new IssuerError('NOT_FOUND', 'no such resource')
  const { id } = keysetOf(ports, keyset as `0x${string}`)
  if (kind === 'spent') {
    const spent = await store.readSpentIds(prefix, CHANGE_TILE_MAX + 1)
    if (spent.length > CHANGE_TILE_MAX) throw new IssuerError('TILE_TOO_LARGE', 'ask with a longer prefix')
    return { spent }
  }
  const entries = await store.readChange(id, prefix, CHANGE_TILE_MAX + 1)
  if (entries.length > CHANGE_TILE_MAX) throw new IssuerError('TILE_TOO_LARGE', 'ask with a longer prefix')
  return { entries: entries.map((entry) => ({ ...entry, signature: toBase64(entry.signature) })) }
}

function parse<T>(schema: Schema<T>, request: InnerRequest): T {
  return parseJson(schema, decodeUtf8(request.body), 'request')
}

function refusal({ onFault }: IssuerAppOptions, error: unknown): InnerResponse {
  if (error instanceof IssuerError) return refuse(error.code, error.message)
  if (error instanceof HandoverError) {
    const { code, message } = error
    return answer({ error: { code, message } }, HANDOVER_STATUS[code])
  }
  if (error instanceof WireError || error instanceof BytesError) return refuse('BAD_REQUEST', error.message)
  onFault(error)
  const isPassing = error instanceof AppError || error instanceof SignerPoolError
  return refuse('UNAVAILABLE', isPassing ? 'the chain or a part of the issuer does not answer' : 'the issuer failed')
}

function refuse(code: IssuerErrorCode, message: string): InnerResponse {
  return answer({ error: { code, message } }, ISSUER_STATUS[code])
}

/** Padded, so that its length tells an onlooker as little as possible. */
function answer(value: unknown, status = 200): InnerResponse {
  return {
    status,
    headers: [['content-type', 'application/json']],
    body: encodeUtf8(toJson(value)),
    padLastChunkTo: CHUNK_BYTES_SEND,
  }
}
