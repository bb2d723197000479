/** JSON at the edge: everything from outside is unknown until a schema parsed it once. @module */
import * as v from 'valibot'
import { fromBase64, type Hex } from '../bytes.ts'

/** Parses `text` as JSON and checks it. Throws `WireError` (`BAD_JSON`, `BAD_SHAPE`) naming `what` and the place. */
export function parseJson<T>(schema: Schema<T>, text: string, what: string): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's own error quotes the text, so it is not kept as the cause.
    throw new WireError('BAD_JSON', `expected ${what} as JSON`)
  }
  return parseShape(schema, value, what)
}

/** Checks a value that is JSON already. Throws `WireError` (`BAD_SHAPE`) naming `what` and the place, never the content. */
export function parseShape<T>(schema: Schema<T>, value: unknown, what: string): T {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  const place = v.getDotPath(issue) ?? 'the whole'
  throw new WireError('BAD_SHAPE', `${what}: ${place} is not ${issue.expected ?? 'as specified'}`)
}

/** JSON of `value`; bigints become decimal strings. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, (_key, entry: unknown) => (typeof entry === 'bigint' ? entry.toString() : entry), indent)
}

/** A schema from anything to `T`. Types are written out beside their schemas: they are the documentation of the wire. */
export type Schema<T> = v.GenericSchema<unknown, T>

/** A non-negative integer as a decimal string, at most 78 digits; a bigint inside. */
export const decimal: Schema<bigint> = v.pipe(
  v.string(),
  v.regex(/^(?:0|[1-9][0-9]{0,77})$/),
  v.transform((text: string) => BigInt(text)),
)

/** The same, bounded by `bits`. */
export function uintOf(bits: number): Schema<bigint> {
  const fits = (value: bigint) => value >> BigInt(bits) === 0n
  return v.pipe(decimal, v.check(fits, `expected at most ${bits} bits`))
}

/** Lower- or upper-case hex of exactly `lengthBytes`, with 0x. */
export function hexOf(lengthBytes: number): Schema<Hex> {
  const pattern = new RegExp(`^0x[0-9a-fA-F]{${2 * lengthBytes}}$`)
  return v.pipe(
    v.string(),
    v.regex(pattern),
    v.transform((text) => text.toLowerCase() as Hex),
  )
}

export const address: Schema<Hex> = hexOf(20)
export const hash: Schema<Hex> = hexOf(32)

/** Canonical base64 of at most `bytesMax`; bytes inside. */
export function base64Of(bytesMax: number): Schema<Uint8Array> {
  return v.pipe(
    v.string(),
    // Refuses what is far too long before it is decoded.
    v.maxLength(Math.ceil(bytesMax / 3) * 4),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        const bytes = fromBase64(dataset.value)
        if (bytes.length <= bytesMax) return bytes
      } catch {
        // What is not base64 is refused like what is too long.
      }
      addIssue({ message: `expected canonical base64 of at most ${bytesMax} bytes` })
      return NEVER
    }),
  )
}

export type WireErrorCode = 'BAD_JSON' | 'BAD_SHAPE'

export class WireError extends Error {
  override readonly name = 'WireError'
  readonly code: WireErrorCode
  constructor(code: WireErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
