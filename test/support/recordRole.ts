/**
 * A preload for a role's process (`node --import`): writes down what its enclave sees once a seal is opened, and changes nothing else. The
 * role runs as it is; two of its modules are wrapped while they are loaded. One JSON object a line goes to SEALPATH_TRANSCRIPT.
 *
 *   { kind: 'request', method, path, headers, body }       an opened request, body in base64
 *   { kind: 'response', status, headers, body }            its answer; body is null where it is streamed
 *   { kind: 'payment', plaintext }                         a payment that an issuer opened
 *
 * @module
 */
import { appendFileSync, writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const WRAPPED = [
  {
    file: '/offchain/node/sealing/sealedServer.ts',
    from: 'export function createSealedServer(',
    to: 'function sealedServerAsItIs(',
    append: `
export function createSealedServer(options: SealedServerOptions): ReturnType<typeof sealedServerAsItIs> {
  const record = (globalThis as { recordTranscript?: (entry: unknown) => void }).recordTranscript
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
  return sealedServerAsItIs({
    ...options,
    handle: async (inner, exchange) => {
      record?.({ kind: 'request', method: inner.method, path: inner.path, headers: inner.headers, body: text(inner.body) })
      const response = await options.handle(inner, exchange)
      const body = response.body instanceof Uint8Array ? text(response.body) : null
      record?.({ kind: 'response', status: response.status, headers: response.headers, body })
      return response
    },
  })
}
`,
  },
  {
    file: '/offchain/protocol/credits/sealedPayment.ts',
    from: 'export async function openPayment(',
    to: 'async function openPaymentAsItIs(',
    append: `
export async function openPayment(...args: Parameters<typeof openPaymentAsItIs>): Promise<OpenedPayment> {
  const opened = await openPaymentAsItIs(...args)
  const record = (globalThis as { recordTranscript?: (entry: unknown) => void }).recordTranscript
  record?.({ kind: 'payment', plaintext: Buffer.from(encodePayment(opened.payment)).toString('base64') })
  return opened
}
`,
  },
] as const

const file = process.env.SEALPATH_TRANSCRIPT
if (file === undefined) throw new Error('set SEALPATH_TRANSCRIPT to a file')
writeFileSync(file, '')
Object.assign(globalThis, {
  recordTranscript: (entry: unknown) => appendFileSync(file, `${JSON.stringify(entry)}\n`),
})

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const wrapped = WRAPPED.find((candidate) => url.endsWith(candidate.file))
    if (wrapped === undefined) return loaded
    const source = String(loaded.source)
    if (source.split(wrapped.from).length !== 2) throw new Error(`${wrapped.file} does not read as expected`)
    return { ...loaded, source: source.replace(wrapped.from, wrapped.to) + wrapped.append }
  },
})
