/**
 * What a role could write down (recordRole.ts, recordingProxy.ts), made comparable: its shape, with lengths in the place of values, and its
 * values, every byte string of it.
 * @module
 */
import { fromHex } from '#protocol/bytes.ts'
import { decodePayment } from '#protocol/credits/payment.ts'
import type { Exchange } from './recordingProxy.ts'

export type Entry =
  | {
      readonly kind: 'request'
      readonly method: string
      readonly path: string
      readonly headers: readonly [string, string][]
      readonly body: string
    }
  | {
      readonly kind: 'response'
      readonly status: number
      readonly headers: readonly [string, string][]
      readonly body: string | null
    }
  | { readonly kind: 'payment'; readonly plaintext: string }

/** Shorter values repeat by chance, or are numbers. */
const WINDOW_BYTES = 16

export const bytesOf = (base64: string): Buffer => Buffer.from(base64, 'base64')

// Shape

/**
 * Exchanges of a relay, one strand for each path. What a client does side by side arrives in any order, so that between strands there is none,
 * and within one those whose requests look alike may change places.
 */
export function shapeOfExchanges(exchanges: readonly Exchange[]): Record<string, unknown[]> {
  const strands = Map.groupBy(exchanges, ({ method, path }) => `${method} ${path}`)
  const sorted = [...strands].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(
    sorted.map(([name, strand]) => {
      const runs = runsOf(strand, (a, b) => a.request.length === b.request.length)
      return [name, runs.flatMap((run) => sortedShapes(run.map(shapeOfExchange)))]
    }),
  )
}

/** Entries of a role, in order; only where nothing is posted what is asked side by side may change places. */
export function shapeOfEntries(entries: readonly Entry[]): string[] {
  const isPost = (entry: Entry) => entry.kind !== 'response' && !(entry.kind === 'request' && entry.method === 'GET')
  const runs = runsOf(entries, (a, b) => !isPost(a) && !isPost(b))
  return runs.flatMap((run) => sortedShapes(run.map(shapeOfEntry)))
}

function shapeOfExchange({ path, requestHeaders, request, status, response }: Exchange): unknown {
  // A document of evidence differs by a byte or two from one hour to the next: certificates hold numbers of any length.
  const responseBytes = path.endsWith('/evidence') ? 'a document' : response.length
  return { requestHeaders, requestBytes: request.length, status, responseBytes }
}

export function shapeOfEntry(entry: Entry): unknown {
  switch (entry.kind) {
    case 'request':
      return {
        ...entry,
        path: entry.path.replaceAll(/0x[0-9a-f]{40,64}/g, '{id}'),
        headers: entry.headers.map(([name, value]) => [name, value.length]),
        body: bytesOf(entry.body).length,
      }
    case 'response':
      return {
        status: entry.status,
        headers: entry.headers.map(([name, value]) => [name, value.length]),
        body: entry.body === null ? 'streamed' : bytesOf(entry.body).length,
      }
    case 'payment': {
      const { credits, maximumFee } = decodePayment(bytesOf(entry.plaintext))
      return { maximumFee: maximumFee.toString(), exponents: credits.map(({ exponent }) => exponent).sort() }
    }
  }
}

function sortedShapes(shapes: readonly unknown[]): string[] {
  return shapes.map((shape) => JSON.stringify(shape)).sort()
}

function runsOf<T>(items: readonly T[], belongs: (a: T, b: T) => boolean): T[][] {
  const runs: T[][] = []
  for (const item of items) {
    const run = runs.at(-1)
    const last = run?.at(-1)
    if (run !== undefined && last !== undefined && belongs(last, item)) run.push(item)
    else runs.push([item])
  }
  return runs
}

// Values

/** All values in entries, decoded from hex or base64 where they are that. The time is everybody's. */
export function valuesOf(entries: readonly Entry[]): Buffer[] {
  return entries.flatMap((entry) => {
    if (entry.kind === 'payment') return paymentValues(bytesOf(entry.plaintext))
    const headers = entry.headers.flatMap(([name, value]) => (name === 'date' ? [] : [decoded(value)]))
    const path = entry.kind === 'request' ? entry.path.split('/').map(decoded) : []
    return [...headers, ...path, ...(entry.body === null ? [] : bodyValues(bytesOf(entry.body)))]
  })
}

function paymentValues(plaintext: Buffer): Buffer[] {
  const { keyset, enclave, credits, blanks } = decodePayment(plaintext)
  const ofCredits = credits.flatMap(({ secret, exitKey, signature }) => [secret, fromHex(exitKey), signature])
  return [fromHex(keyset), fromHex(enclave), ...ofCredits, ...blanks].map((bytes) => Buffer.from(bytes))
}

function bodyValues(body: Buffer): Buffer[] {
  const found: Buffer[] = []
  const visit = (value: unknown): void => {
    if (typeof value === 'string') found.push(decoded(value))
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(visit)
  }
  try {
    visit(JSON.parse(body.toString('utf8')))
  } catch {
    // No JSON: the bytes themselves are the value.
    found.push(body)
  }
  return found
}

/** The bytes that a text stands for. */
export function decoded(text: string): Buffer {
  if (/^0x([0-9a-f]{2})+$/i.test(text)) return Buffer.from(text.slice(2), 'hex')
  const isBase64 = text.length >= 24 && text.length % 4 === 0 && /^[A-Za-z0-9+/]+=*$/.test(text)
  return isBase64 ? Buffer.from(text, 'base64') : Buffer.from(text)
}

/** Parts of sixteen bytes that occur in both, but for those of what is `known` to everybody. */
export function sharedWindows(a: readonly Buffer[], b: readonly Buffer[], known: readonly Buffer[]): string[] {
  const [common, there] = [windowsOf(known), windowsOf(b)]
  return [...windowsOf(a)].filter((window) => there.has(window) && !common.has(window))
}

function windowsOf(values: readonly Buffer[]): Set<string> {
  const windows = new Set<string>()
  for (const value of values) {
    for (let i = 0; i + WINDOW_BYTES <= value.length; i++) {
      const window = value.subarray(i, i + WINDOW_BYTES)
      // Long runs of one byte are padding.
      if (window.some((byte) => byte !== window[0])) windows.add(window.toString('latin1'))
    }
  }
  return windows
}
