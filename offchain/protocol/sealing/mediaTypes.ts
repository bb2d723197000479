/** Media types of the sealed path: RFC 9458 section 6 and draft-ietf-ohai-chunked-ohttp-08 section 4, in one place. @module */
import { OhttpError } from './ohttpError.ts'

export const OHTTP_KEYS = 'application/ohttp-keys'
export const OHTTP_REQUEST = 'message/ohttp-req'
export const OHTTP_RESPONSE = 'message/ohttp-res'
export const OHTTP_CHUNKED_REQUEST = 'message/ohttp-chunked-req'
export const OHTTP_CHUNKED_RESPONSE = 'message/ohttp-chunked-res'
export const PROBLEM_JSON = 'application/problem+json'

/** `type` of the problem document for a request that could not be opened (RFC 9458 section 5.3). */
export const OHTTP_KEY_PROBLEM = 'https://iana.org/assignments/http-problem-types#ohttp-key'

/** The media type of a content-type field in lower case and without parameters; empty where there is none. */
export function mediaTypeOf(contentType: string | null | undefined): string {
  return (contentType ?? '').split(';', 1).join('').trim().toLowerCase()
}

/**
 * Throws `OhttpError` (`WRONG_MEDIA_TYPE`) unless the response is of the expected type. The type decides the format: a
 * chunked request is never answered unchunked or the other way round, so there is nothing to fall back to.
 */
export function checkMediaType(contentType: string | null | undefined, expected: string): void {
  if (mediaTypeOf(contentType) !== expected) {
    throw new OhttpError('WRONG_MEDIA_TYPE', `expected a response of type ${expected}`)
  }
}
