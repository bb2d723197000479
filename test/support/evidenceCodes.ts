/** Names of the contract's evidence codes, read from the enumeration's source. @module */
import { readFileSync } from 'node:fs'

let names: readonly string[] | undefined

/** By number. */
export function evidenceCodes(): readonly string[] {
  if (names !== undefined) return names
  const source = readFileSync(new URL('../../contracts/attestation/nitro/EvidenceCode.sol', import.meta.url), 'utf8')
  const body = /enum EvidenceCode \{([^}]*)\}/.exec(source)?.[1] ?? ''
  names = body.split(',').map((name) => name.trim())
  return names
}
