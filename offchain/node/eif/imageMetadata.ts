/** The metadata section of an enclave image: JSON that names the image. Nobody measures it, so it proves nothing. @module */
import * as v from 'valibot'
import { BytesError, decodeUtf8 } from '#protocol/bytes.ts'
import { parseJson, type Schema, WireError } from '#protocol/wire/json.ts'
import { EifError } from './eifError.ts'

/** Whatever whoever built the image wrote: any characters, any length. */
export type ImageMetadata = { readonly name: string; readonly version: string }

/**
 * Parses the section's content: `EifIdentityInfo` of `src/defs/mod.rs` in aws/aws-nitro-enclaves-image-format, of which only the names count here.
 * Throws `EifError` (`BAD_METADATA`).
 */
export function parseImageMetadata(content: Uint8Array): ImageMetadata {
  try {
    const { ImageName, ImageVersion } = parseJson(IdentitySchema, decodeUtf8(content), 'metadata')
    return { name: ImageName, version: ImageVersion }
  } catch (cause) {
    if (!(cause instanceof WireError || cause instanceof BytesError)) throw cause
    throw new EifError('BAD_METADATA', `the metadata section is not what builders write: ${cause.message}`, { cause })
  }
}

const IdentitySchema: Schema<{ ImageName: string; ImageVersion: string }> = v.object({
  ImageName: v.string(),
  ImageVersion: v.string(),
})
