/** An HTTP proxy that forwards everything unchanged and remembers each exchange: what somebody in its place could write down. @module */
import { createServer, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Exchange = {
  readonly method: string
  readonly path: string
  readonly requestHeaders: readonly string[]
  readonly request: Buffer
  readonly status: number
  readonly response: Buffer
}

export type RecordingProxy = {
  readonly url: string
  /** Exchanges that ended, in the order they ended in. */
  readonly exchanges: readonly Exchange[]
  close(): Promise<void>
}

export async function openRecordingProxy(targetUrl: string): Promise<RecordingProxy> {
  const exchanges: Exchange[] = []
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '/' } = incoming
    const request: Buffer[] = []
    const response: Buffer[] = []
    const onward = send(new URL(url, targetUrl), { method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.on('data', (part: Buffer) => response.push(part))
      answer.on('end', () => {
        const requestHeaders = Object.keys(incoming.headers).sort()
        exchanges.push({
          method,
          path: url,
          requestHeaders,
          request: Buffer.concat(request),
          status: answer.statusCode ?? 0,
          response: Buffer.concat(response),
        })
      })
      answer.pipe(outgoing)
    })
    onward.on('error', () => outgoing.destroy())
    incoming.on('data', (part: Buffer) => request.push(part))
    incoming.on('error', () => onward.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    exchanges,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
