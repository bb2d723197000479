/** A sealed call between programs: one JSON request, one answer read whole. Sealing only, no network. @module */
import { joinBytes } from '../bytes.ts'
import type { Field } from './binaryHttpFields.ts'
import { sealHttpRequest } from './client.ts'
import type { KeyConfig } from './keyConfig.ts'
import { OhttpError } from './ohttpError.ts'
import type { SealingSuites } from './suite.ts'

export type WholeRequest = {
  readonly method: 'GET' | 'POST'
  readonly authority: string
  readonly path: string
  readonly body: Uint8Array
  /** For the date field, which bounds how long a copy could be replayed. */
  readonly now: Date
}

export type WholeAnswer = { readonly status: number; readonly headers: readonly Field[]; readonly body: Uint8Array }

export type SealedWholeRequest = {
  readonly contentType: string
  readonly accept: string
  readonly body: Uint8Array<ArrayBuffer>
  /** Opens the encapsulated response. Throws `OhttpError` and `BinaryHttpError`. */
  open(response: Uint8Array): Promise<WholeAnswer>
}

/** Throws `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function sealWholeRequest(
  suites: SealingSuites,
  config: KeyConfig,
  request: WholeRequest,
): Promise<SealedWholeRequest> {
  const { method, authority, path, body, now } = request
  const headers: Field[] = [
    ['date', now.toUTCString()],
    ['content-type', 'application/json'],
  ]
  const inner = { method, scheme: 'https', authority, path, headers, body }
  const sealed = await sealHttpRequest(suites, config, inner, { chunked: false })
  return {
    contentType: sealed.contentType,
    accept: sealed.accept,
    body: sealed.body,
    async open(response) {
      const reader = sealed.openResponse()
      const events = [...(await reader.push(response)), ...(await reader.end())]
      const head = events.find((event) => event.type === 'head')
      if (head === undefined) throw new OhttpError('TRUNCATED', 'the answer has no head')
      const parts = events.flatMap((event) => (event.type === 'body' ? [event.bytes] : []))
      return { status: head.status, headers: head.headers, body: joinBytes(parts) }
    },
  }
}
