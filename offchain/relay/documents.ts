/** The public documents of gateways, fetched by the relay so that no gateway learns who asked. @module */
import type { ClientRequest, IncomingMessage } from 'node:http'

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
    return await readBody(await answerOf(request))
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

async function readBody(answer: IncomingMessage): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (answer.statusCode !== 200) return undefined
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of answer as AsyncIterable<Uint8Array>) {
    bytes += part.length
    if (bytes > DOCUMENT_BYTES_MAX) return undefined
    parts.push(part)
  }
  return new Uint8Array(Buffer.concat(parts))
}
