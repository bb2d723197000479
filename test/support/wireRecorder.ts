/**
 * Somebody on the wire: passes the bytes of every connection on unchanged, and writes down each HTTP/1.1 message with its header lines, the sizes of its
 * transfer chunks and when they came. @module
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type WireMessage = {
  readonly startLine: string
  /** As they were written, in their order. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
  /** Of a body in transfer chunks each chunk; of any other none. */
  readonly chunks: readonly { readonly bytes: number; readonly atMs: number }[]
  /** When its last byte passed, by the clock of `performance`. */
  readonly endedMs: number
}

export type WireExchange = { readonly request: WireMessage; readonly response: WireMessage }

export type WireRecorder = {
  readonly url: string
  /** What ended so far, in the order it ended in; those of one connection in their order. */
  readonly exchanges: readonly WireExchange[]
  /** Resolves once `count` exchanges have ended. */
  untilEnded(count: number): Promise<void>
  close(): Promise<void>
}

export async function openWireRecorder(targetUrl: string): Promise<WireRecorder> {
  const { hostname, port } = new URL(targetUrl)
  const exchanges: WireExchange[] = []
  const sockets = new Set<Socket>()
  let wake = (): void => {}
  const server = createServer((near) => {
    const far = connect(Number(port), hostname)
    const requests: WireMessage[] = []
    const incoming = new MessageReader((message) => requests.push(message))
    const outgoing = new MessageReader((response) => {
      const request = requests.shift()
      if (request === undefined) throw new Error('expected a request before its response')
      exchanges.push({ request, response })
      wake()
    })
    pass(near, far, incoming)
    pass(far, near, outgoing)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.setNoDelay()
      socket.on('close', () => sockets.delete(socket))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges,
    async untilEnded(count) {
      while (exchanges.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

function pass(from: Socket, to: Socket, reader: MessageReader): void {
  from.on('data', (bytes: Buffer) => reader.push(bytes, performance.now()))
  from.on('error', () => to.destroy())
  from.on('close', () => to.end())
  from.pipe(to)
}

type Draft = {
  startLine: string
  headers: [string, string][]
  parts: Buffer[]
  chunks: { bytes: number; atMs: number }[]
}

/** Messages of one direction of one connection, one behind the other. Each has a length or transfer chunks, or no body. */
class MessageReader {
  readonly #onMessage: (message: WireMessage) => void
  #bytes = Buffer.alloc(0)
  #draft: Draft | undefined
  /** Body bytes to come: of the message, or of its transfer chunk; undefined before the next chunk's size. */
  #left: number | undefined
  #isChunked = false

  constructor(onMessage: (message: WireMessage) => void) {
    this.#onMessage = onMessage
  }

  push(bytes: Buffer, atMs: number): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    while (this.#step(atMs));
  }

  #step(atMs: number): boolean {
    const draft = this.#draft
    if (draft === undefined) return this.#readHead()
    if (this.#isChunked) return this.#readChunk(draft, atMs)
    if (this.#bytes.length < (this.#left ?? 0)) return false
    draft.parts.push(this.#take(this.#left ?? 0))
    this.#finish(draft, atMs)
    return true
  }

  #readHead(): boolean {
    const head = this.#takeUpTo('\r\n\r\n')
    if (head === undefined) return false
    const [startLine = '', ...lines] = head.split('\r\n')
    const headers = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()]
    })
    const fieldOf = (name: string) => headers.find(([field]) => field.toLowerCase() === name)?.[1]
    this.#isChunked = fieldOf('transfer-encoding') === 'chunked'
    this.#left = this.#isChunked ? undefined : Number(fieldOf('content-length') ?? '0')
    this.#draft = { startLine, headers, parts: [], chunks: [] }
    return true
  }

  #readChunk(draft: Draft, atMs: number): boolean {
    if (this.#left === undefined) {
      const size = this.#takeUpTo('\r\n')
      if (size === undefined) return false
      this.#left = Number.parseInt(size, 16)
    }
    if (this.#bytes.length < this.#left + 2) return false
    const data = this.#take(this.#left)
    this.#take(2)
    this.#left = undefined
    if (data.length === 0) this.#finish(draft, atMs)
    else {
      draft.parts.push(data)
      draft.chunks.push({ bytes: data.length, atMs })
    }
    return true
  }

  #finish({ startLine, headers, parts, chunks }: Draft, endedMs: number): void {
    this.#draft = undefined
    this.#onMessage({ startLine, headers, body: Buffer.concat(parts), chunks, endedMs })
  }

  #takeUpTo(end: string): string | undefined {
    const at = this.#bytes.indexOf(end)
    if (at < 0) return undefined
    const text = this.#take(at).toString('latin1')
    this.#take(end.length)
    return text
  }

  #take(bytes: number): Buffer {
    const taken = this.#bytes.subarray(0, bytes)
    this.#bytes = this.#bytes.subarray(bytes)
    return taken
  }
}
