/** Where a role listens. @module */
import * as v from 'valibot'
import type { Schema } from '#protocol/wire/json.ts'

export type Listen = { readonly host: string; readonly port: number }

/** Files in PEM: the certificate with those that lead to its root, and its private key. Both are read again when they change. */
export type TlsFiles = { readonly certificateFile: string; readonly keyFile: string }

/** With `tls` it speaks HTTPS and nothing else. */
export type PublicListen = Listen & { readonly tls?: TlsFiles }

const entries = {
  host: v.pipe(v.string(), v.minLength(1)),
  port: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)),
}

export const ListenSchema: Schema<Listen> = v.object(entries)

export const PublicListenSchema: Schema<PublicListen> = v.object({
  ...entries,
  tls: v.exactOptional(v.object({ certificateFile: v.string(), keyFile: v.string() })),
})
