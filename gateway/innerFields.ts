/** Header fields of the inner request and answer that mean something here. Spec: docs/spec.md section 2. @module */
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { encodeUtf8, fromHex } from '#protocol/bytes.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { PADDING_FIELD, type PaddingMode, parsePaddingMode } from '#protocol/shape.ts'
import { NONCE_FIELD } from '#protocol/wire/receiptFile.ts'
import { invalidRequest } from './backends/backendError.ts'

const NONCE_BYTES_MAX = 64

/** The client's nonce; no bytes without one. Throws `BackendError` (400). */
export function readNonce(inner: InnerRequest): Uint8Array {
  const value = readField(inner, NONCE_FIELD)
  if (value === undefined) return new Uint8Array()
  if (!/^0x(?:[0-9a-f]{2})*$/i.test(value) || value.length > 2 + 2 * NONCE_BYTES_MAX) {
    throw invalidRequest(`expected ${NONCE_FIELD} as hex of at most ${NONCE_BYTES_MAX} bytes`, null)
  }
  return fromHex(value)
}

export function readPadding(inner: InnerRequest): PaddingMode {
  return parsePaddingMode(readField(inner, PADDING_FIELD))
}

export function readField(inner: InnerRequest, name: string): string | undefined {
  return inner.headers.find(([field]) => field === name)?.[1]
}

export function jsonResponse(status: number, value: unknown): InnerResponse {
  return textResponse(JSON.stringify(value), status)
}

/** A response whose body is this JSON text. */
export function textResponse(text: string, status = 200): InnerResponse {
  return { status, headers: [['content-type', 'application/json']], body: encodeUtf8(text) }
}
