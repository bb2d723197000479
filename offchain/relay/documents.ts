/** The public documents of gateways, fetched by the relay so that no gateway learns who asked. @module */
import type { ClientRequest, IncomingMessage } from 'node:http'
import { readBody } from '#protocol/boundedBody.ts'

const DOCUMENT_BYTES_MAX = 65_536

/**
 * Asks with `open` and answers the document's bytes; undefined when it is missing, too large, or did not come within `timeoutMs`: a client tries another
 * gateway either way.
 */
export async function readDocument(
  open: () => ClientRequest,
  timeoutMs: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  for (;;) {
    const request = open()
    try {
      return await readOnce(request, timeoutMs)
    } catch (error) {
      // A kept connection that the gateway closed just then: there is one less of them now, and a document may be asked for twice.
      if (!(request.reusedSocket && isReset(error))) return undefined
    }
  }
}

async function readOnce(request: ClientRequest, timeoutMs: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const timer = setTimeout(() => request.destroy(new Error('the gateway took too long')), timeoutMs)
  try {
    const answer = await answerOf(request)
    return answer.statusCode === 200 ? await readBody(answer, DOCUMENT_BYTES_MAX) : undefined
  } finally {
    clearTimeout(timer)
    // Does nothing to a connection whose exchange is complete: that one serves the next.
    request.destroy()
  }
}

function isReset(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}

function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.once('response', resolve)
    request.once('close', () => reject(new Error('the connection ended without an answer')))
    request.end()
  })
}
