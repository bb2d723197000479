/**
 * The parts of a message. Media stand in the request itself: whoever fetched an address would tell its host that somebody asks about it, and when. A
 * model server would even read files of its own host (`file:`). @module
 */
import { isRecord } from '#protocol/isRecord.ts'
import { BackendError, invalidRequest } from '../backends/backendError.ts'

/** Checks the content of one message, a text or parts, standing at `at`. Throws `BackendError` (400). */
export function checkParts(content: unknown, at: string): void {
  if (content === undefined || content === null || typeof content === 'string') return
  if (!Array.isArray(content)) throw invalidRequest(`'${at}' must be a string or an array of parts`, at)
  for (const [i, part] of content.entries()) checkPart(part, `${at}[${i}]`)
}

function checkPart(part: unknown, at: string): void {
  const type = isRecord(part) ? part.type : undefined
  const fields = typeof type === 'string' ? PART_FIELDS.get(type) : undefined
  if (!isRecord(part) || fields === undefined) {
    throw invalidRequest(`'${at}' must be one of: ${[...PART_FIELDS.keys()].join(', ')}`, at)
  }
  for (const [name, value] of Object.entries(part)) {
    // Some servers go by the field that is there, whatever the type says.
    if (name !== 'type' && !fields.includes(name)) throw invalidRequest(`'${at}' has no field '${name}'`, at)
    if (name.endsWith('_url')) checkUrl(isRecord(value) ? value.url : value, `${at}.${name}`)
    if (name === 'file' && !(isRecord(value) && typeof value.file_data === 'string' && value.file_id === undefined)) {
      throw invalidRequest(`'${at}.file' must hold its data: no file is kept here`, `${at}.file`)
    }
  }
}

function checkUrl(url: unknown, at: string): void {
  if (typeof url !== 'string') throw invalidRequest(`'${at}' must have a url`, at)
  if (url.slice(0, 'data:'.length).toLowerCase() === 'data:') return
  const message =
    `'${at}' must be a data: URL. Nothing is fetched from other addresses, because their host would learn that you ask about it: ` +
    'put the content itself into the request'
  throw new BackendError(400, 'UNSUPPORTED_PARAMETER', 'invalid_request_error', message, { param: at })
}

/** What each kind of part may hold. */
const PART_FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['text', ['text', 'annotations']],
  ['refusal', ['refusal']],
  ['image_url', ['image_url']],
  ['input_audio', ['input_audio']],
  ['audio_url', ['audio_url']],
  ['video_url', ['video_url']],
  ['file', ['file']],
])
