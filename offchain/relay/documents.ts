/** The public documents of gateways, fetched by the relay so that no gateway learns who asked. @module */
import type { ClientRequest, IncomingMessage } from 'node:http'
import { readBody } from '#protocol/boundedBody.ts'

const DOCUMENT_BYTES_MAX = 65_536

/**
 * Ends `request` and answers the document's bytes; undefined when it is missing, too large, or did not come within `timeoutMs`: a client tries another
 * gateway either way.
 */
export async function readDocument(
  request: ClientRequest,
  timeoutMs: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const timer = setTimeout(() => request.destroy(), timeoutMs)
  try {
    const answer = await answerOf(request)
    return answer.statusCode === 200 ? await readBody(answer, DOCUMENT_BYTES_MAX) : undefined
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
    // Does nothing to a connection whose exchange is complete: that one serves the next.
    request.destroy()
  }
}

function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.once('response', resolve)
    request.once('close', () => reject(new Error('the gateway took too long')))
    request.end()
  })
}
