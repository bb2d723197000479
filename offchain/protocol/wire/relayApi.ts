/** What a relay says about itself: the gateways behind it, by path. Spec: docs/spec.md section 2. @module */
import * as v from 'valibot'
import type { Schema } from './json.ts'

/** `operator` is declared, never verified. A gateway's `path` is its relay resource, relative to the relay's origin. */
export type RelayDirectory = {
  readonly operator: string
  readonly gateways: readonly { readonly name: string; readonly path: string }[]
}

export const RelayDirectorySchema: Schema<RelayDirectory> = v.object({
  operator: v.pipe(v.string(), v.maxLength(128)),
  gateways: v.pipe(
    v.array(
      v.object({
        name: v.pipe(v.string(), v.maxLength(64)),
        path: v.pipe(v.string(), v.regex(/^(?:\/[\w-]{1,64}){1,4}$/)),
      }),
    ),
    v.maxLength(1_000),
  ),
})
