/**
 * One exchange passed through: the request's bytes to the gateway, the answer's bytes to the client, each as fast as the other end takes them
 * and none of them kept. On node:http itself: streams of the web standards and `fetch` cost several times the memory and time.
 * @module
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import {
  mediaTypeOf,
  OHTTP_CHUNKED_REQUEST,
  OHTTP_CHUNKED_RESPONSE,
  OHTTP_RESPONSE,
  PROBLEM_JSON,
} from '#protocol/sealing/mediaTypes.ts'
import type { RelayLimits } from './config.ts'
import type { GatewayRoute } from './gatewayRoute.ts'

/** Media types a gateway may answer with; anything else is not passed on. */
const PASSED_TYPES: ReadonlySet<string> = new Set([OHTTP_RESPONSE, OHTTP_CHUNKED_RESPONSE, PROBLEM_JSON])

/** Both halves of a client's exchange, as the server gives them. */
export type ClientEnd = { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse }

/** `PASSED`: the answer has begun and ends by itself. All others: nothing was answered yet, and the exchange has ended. */
export type ForwardOutcome =
  | 'PASSED'
  | 'REQUEST_TOO_LARGE'
  | 'CLIENT_STALLED'
  | 'CLIENT_LEFT'
  | 'NO_ANSWER'
  | 'UNFIT_ANSWER'

/**
 * Sends the request of `client`, of media type `type`, to the gateway. Settles when the answer begins or cannot. `ended` is called once, when nothing
 * is under way any more. Whoever stalls beyond `limits` ends the exchange, and an answer that began is then cut.
 */
export function forward(
  client: ClientEnd,
  gateway: GatewayRoute,
  type: string,
  limits: RelayLimits,
  ended: () => void,
): Promise<ForwardOutcome> {
  return new Promise((resolve) => {
    new Forwarding(client, gateway.open(requestHeaders(client.incoming, type)), limits, resolve, ended).start()
  })
}

/** All that the gateway learns: the bare media type, and the length where one was declared, which its own bytes tell as well. */
function requestHeaders({ headers }: IncomingMessage, type: string): Record<string, string> {
  const length = headers['content-length']
  return {
    'content-type': type,
    ...(type === OHTTP_CHUNKED_REQUEST ? { incremental: '?1' } : {}),
    ...(length === undefined ? {} : { 'content-length': length }),
  }
}

class Forwarding {
  readonly #incoming: IncomingMessage
  readonly #outgoing: ServerResponse
  readonly #upstream: ClientRequest
  readonly #limits: RelayLimits
  readonly #resolve: (outcome: ForwardOutcome) => void
  readonly #ended: () => void
  readonly #watch: Watch
  #answer: IncomingMessage | undefined
  #requestBytes = 0
  #hasEnded = false

  constructor(
    { incoming, outgoing }: ClientEnd,
    upstream: ClientRequest,
    limits: RelayLimits,
    resolve: (outcome: ForwardOutcome) => void,
    ended: () => void,
  ) {
    this.#incoming = incoming
    this.#outgoing = outgoing
    this.#upstream = upstream
    this.#limits = limits
    this.#resolve = resolve
    this.#ended = ended
    this.#watch = new Watch((isClient) => this.#end(isClient ? 'CLIENT_STALLED' : 'NO_ANSWER'))
  }

  start(): void {
    const incoming = this.#incoming
    const upstream = this.#upstream
    // Covers every way in which the client can leave, and the regular end of its answer.
    this.#outgoing.once('close', () => this.#end('CLIENT_LEFT'))
    // What breaks is told by `close`; left without a listener it would end the process.
    incoming.on('error', () => {})
    this.#outgoing.on('error', () => {})
    upstream.on('error', () => this.#lose())
    upstream.once('response', (answer) => this.#pass(answer))
    incoming.pipe(upstream)
    // After the pipe's own listeners, so that each sees what the pipe did with the bytes.
    incoming.on('data', (part: Uint8Array) => this.#countRequest(part.length))
    incoming.once('end', () => this.#watchRequest())
    upstream.on('drain', () => this.#watchRequest())
    this.#watchRequest()
  }

  #countRequest(bytes: number): void {
    this.#requestBytes += bytes
    if (this.#requestBytes > this.#limits.requestBytesMax) this.#end('REQUEST_TOO_LARGE')
    else this.#watchRequest()
  }

  #watchRequest(): void {
    // A gateway may answer before it has everything: from then on the answer alone has to move.
    if (this.#hasEnded || this.#outgoing.headersSent) return
    if (this.#incoming.readableEnded) this.#watch.gateway(this.#limits.firstByteTimeoutMs)
    else if (this.#upstream.writableNeedDrain) this.#watch.gateway(this.#limits.gatewayStallTimeoutMs)
    else this.#watch.client(this.#limits.clientStallTimeoutMs)
  }

  /** The gateway's answer with nothing of it but status, media type, length and bytes. */
  #pass(answer: IncomingMessage): void {
    answer.on('error', () => {})
    if (this.#hasEnded) return
    const { statusCode: status = 0, headers } = answer
    const type = mediaTypeOf(headers['content-type'] ?? null)
    if (!PASSED_TYPES.has(type) || (status !== 200 && status < 400)) {
      this.#end('UNFIT_ANSWER')
      return
    }
    this.#answer = answer
    const outgoing = this.#outgoing
    outgoing.writeHead(status, responseHeaders(type, headers['content-length']))
    outgoing.flushHeaders()
    answer.pipe(outgoing)
    answer.on('data', () => this.#watchAnswer())
    answer.once('end', () => this.#watchAnswer())
    answer.once('close', () => this.#lose())
    outgoing.on('drain', () => this.#watchAnswer())
    this.#watchAnswer()
    this.#resolve('PASSED')
  }

  /** The gateway is gone. If it had said everything, the client still gets it; else it must see a cut, for an end that looks regular would hide it. */
  #lose(): void {
    if (this.#answer?.complete !== true) this.#end('NO_ANSWER')
  }

  #watchAnswer(): void {
    if (this.#hasEnded) return
    if (this.#outgoing.writableNeedDrain || this.#outgoing.writableEnded)
      this.#watch.client(this.#limits.clientStallTimeoutMs)
    else this.#watch.gateway(this.#limits.gatewayStallTimeoutMs)
  }

  /** The exchange is over, whichever end says so first. What has begun of an answer is cut unless it is complete. */
  #end(outcome: Exclude<ForwardOutcome, 'PASSED'>): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#watch.stop()
    this.#incoming.unpipe(this.#upstream)
    // Does nothing to a connection whose exchange is complete: that one serves the next.
    this.#upstream.destroy()
    if (this.#outgoing.headersSent && !this.#outgoing.writableFinished) this.#outgoing.destroy()
    this.#ended()
    this.#resolve(outcome)
  }
}

function responseHeaders(type: string, length: string | undefined): Record<string, string> {
  return {
    'content-type': type,
    'cache-control': 'no-store',
    'access-control-allow-origin': '*',
    ...(type === OHTTP_CHUNKED_RESPONSE ? { incremental: '?1' } : {}),
    ...(length === undefined ? {} : { 'content-length': length }),
  }
}

/** Waits for whoever has to move next: each call starts the waiting anew, `stalled` is told when one lasts too long. */
class Watch {
  readonly #stalled: (isClient: boolean) => void
  #timer: NodeJS.Timeout | undefined
  #timeoutMs = 0
  #isClient = false

  constructor(stalled: (isClient: boolean) => void) {
    this.#stalled = stalled
  }

  client(timeoutMs: number): void {
    this.#wait(true, timeoutMs)
  }

  gateway(timeoutMs: number): void {
    this.#wait(false, timeoutMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #wait(isClient: boolean, timeoutMs: number): void {
    this.#isClient = isClient
    if (this.#timer !== undefined && this.#timeoutMs === timeoutMs) {
      // Several times cheaper than a new timer, and almost every byte that moves comes here.
      this.#timer.refresh()
      return
    }
    clearTimeout(this.#timer)
    this.#timeoutMs = timeoutMs
    this.#timer = setTimeout(() => this.#stalled(this.#isClient), timeoutMs)
  }
}
