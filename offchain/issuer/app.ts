/** What an issuer answers inside its seal: #protocol/wire/issuerApi.ts and, to other issuers, handoverApi.ts. Nothing is logged per request. @module */

import { AppError } from '#node/appError.ts'
import { SignerPoolError } from '#node/credits/signerPool.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { SEALED_SERVER_LIMITS, type SealedServerLimits } from '#node/sealing/openHttpRequest.ts'
import { BytesError, decodeUtf8, encodeUtf8, type Hex, toBase64 } from '#protocol/bytes.ts'
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
  type SignedBlank,
  SPENT_ID_BYTES,
  SPENT_PAGE_MAX,
  TILE_DIGITS_MAX,
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
  readonly store: Pick<IssuerStore, 'readPayments' | 'readSpentIds'>
  /** Absent for an issuer that hands nothing over. */
  readonly handover?: Handover
  /** Requests answered at once; above it callers are told to come back. */
  readonly openMax: number
  /** Told what failed that is no answer. */
  readonly onFault: (error: unknown) => void
}

/** The longest request is one for keysets: an attestation document and key configurations in base64, some 44 kB at most. */
const REQUEST_BYTES_MAX = 65_536

/** What the sealed server before this handler takes. */
export const ISSUER_REQUEST_LIMITS: SealedServerLimits = {
  ...SEALED_SERVER_LIMITS,
  contentBytesMax: REQUEST_BYTES_MAX,
  // Padded up to the next class, which is at most twice as long, with the lengths and tags of its chunks.
  messageBytesMax: 2 * REQUEST_BYTES_MAX + 4_096,
}

const CHANGE_PATH = new RegExp(`^/v1/change/(0x[0-9a-f]{64})/([0-9a-f]{0,${TILE_DIGITS_MAX}})$`)
/** Numbers of at most fifteen digits are exact. */
const SPENT_PATH = /^\/v1\/spent\/(0x[0-9a-f]{64})\/(0|[1-9][0-9]{0,14})$/

/** Tiles differ in length and everybody can read them all: a relay that sees a length must not learn which one was asked for. */
const LIST_CLASS_BYTES = 65_536

/** The handler behind the sealed server. Never rejects. */
export function createIssuerApp(options: IssuerAppOptions): (request: InnerRequest) => Promise<InnerResponse> {
  let open = 0
  return async (request) => {
    if (open >= options.openMax) return refuse('UNAVAILABLE', 'as many requests as fit are under way')
    open++
    try {
      const list = await readList(options, request)
      return list === undefined ? answer(await route(options, request)) : answer(list, { fillTo: LIST_CLASS_BYTES })
    } catch (error) {
      return refusal(options, error)
    } finally {
      open--
    }
  }
}

async function route({ ports, handover }: IssuerAppOptions, request: InnerRequest): Promise<unknown> {
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
  throw new IssuerError('NOT_FOUND', 'no such resource')
}

/** A tile or a page, if it is one that is asked for. */
async function readList({ ports, store }: IssuerAppOptions, request: InnerRequest): Promise<unknown> {
  if (request.method !== 'GET') return undefined
  const change = CHANGE_PATH.exec(request.path)
  if (change !== null) return changeTile(store, keysetOf(ports, change[1] as Hex).id, change[2] ?? '')
  const spent = SPENT_PATH.exec(request.path)
  return spent === null ? undefined : spentPage(store, keysetOf(ports, spent[1] as Hex).id, Number(spent[2]))
}

async function changeTile(store: IssuerAppOptions['store'], keyset: Hex, prefix: string): Promise<unknown> {
  const payments = await store.readPayments(keyset, prefix, CHANGE_TILE_MAX)
  if (payments === undefined) throw new IssuerError('TILE_TOO_LARGE', 'ask with a longer prefix')
  const written = (change: readonly SignedBlank[]) =>
    change.map(({ exponent, signature }) => ({ exponent, signature: toBase64(signature) }))
  return {
    payments: payments.map(({ locator, change }) => ({ locator, ...(change && { change: written(change) }) })),
  }
}

async function spentPage(store: IssuerAppOptions['store'], keyset: Hex, from: number): Promise<unknown> {
  const ids = await store.readSpentIds(keyset, from, SPENT_PAGE_MAX + 1, SPENT_ID_BYTES)
  const pageBytes = SPENT_PAGE_MAX * SPENT_ID_BYTES
  if (ids.length <= pageBytes) return { ids: toBase64(ids) }
  return { ids: toBase64(ids.subarray(0, pageBytes)), next: from + SPENT_PAGE_MAX }
}

function parse<T>(schema: Schema<T>, request: InnerRequest): T {
  return parseJson(schema, decodeUtf8(request.body), 'request')
}

function refusal({ onFault }: IssuerAppOptions, error: unknown): InnerResponse {
  if (error instanceof IssuerError) return refuse(error.code, error.message)
  if (error instanceof HandoverError) {
    const { code, message } = error
    return answer({ error: { code, message } }, { status: HANDOVER_STATUS[code] })
  }
  if (error instanceof WireError || error instanceof BytesError) return refuse('BAD_REQUEST', error.message)
  onFault(error)
  const isPassing = error instanceof AppError || error instanceof SignerPoolError
  return refuse('UNAVAILABLE', isPassing ? 'the chain or a part of the issuer does not answer' : 'the issuer failed')
}

function refuse(code: IssuerErrorCode, message: string): InnerResponse {
  return answer({ error: { code, message } }, { status: ISSUER_STATUS[code] })
}

/** Padded, so that its length tells an onlooker as little as possible. `fillTo`: the body becomes a multiple of it, with spaces behind the JSON. */
function answer(
  value: unknown,
  { status = 200, fillTo = 1 }: { status?: number; fillTo?: number } = {},
): InnerResponse {
  const text = toJson(value)
  return {
    status,
    headers: [['content-type', 'application/json']],
    body: encodeUtf8(text.padEnd(Math.ceil(text.length / fillTo) * fillTo)),
    padLastChunkTo: CHUNK_BYTES_SEND,
  }
}
