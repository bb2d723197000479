/** Dates in certificates (RFC 5280 section 4.1.2.5). @module */
import type { DerCursor } from './der.ts'
import { DER_TAG, readDer } from './der.ts'
import { EvidenceError } from './evidenceError.ts'

/**
 * Reads a UTCTime (`YYMMDDHHMMSSZ`, 1950 to 2049) or, from 2050 on, a GeneralizedTime (`YYYYMMDDHHMMSSZ`).
 * Returns seconds since the epoch. `CERTIFICATE_DATE` for any other form, for dates before 1970 and for dates that do not exist.
 */
export function readDerTime(cursor: DerCursor): bigint {
  const { tag, content, end } = readDer(cursor)
  const text = String.fromCharCode(...cursor.bytes.subarray(content, Math.min(end, content + 16)))
  let digits: string
  if (tag === DER_TAG.utcTime && /^\d{12}Z$/.test(text)) {
    digits = (text < '50' ? '20' : '19') + text
  } else if (tag === DER_TAG.generalizedTime && /^\d{14}Z$/.test(text) && text >= '2050') {
    digits = text
  } else {
    throw badDate(`a UTCTime up to 2049 or a GeneralizedTime from 2050, in seconds and Z`)
  }
  const iso = digits.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6.000Z')
  const ms = Date.parse(iso)
  // Engines may carry 30 February over into March; a date that does not come back unchanged does not exist.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) throw badDate(`a date that exists, got ${iso}`)
  if (ms < 0) throw badDate('a date from 1970 on')
  return BigInt(ms) / 1000n
}

function badDate(expected: string): EvidenceError {
  return new EvidenceError('CERTIFICATE_DATE', `expected ${expected}`)
}
