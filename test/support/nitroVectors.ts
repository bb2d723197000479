/** The real documents in ../shared/vectors/nitro with what others read in them. @module */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export type NitroVector = {
  readonly name: string
  /** What a verifier must say at the document's own time: accept, refuse by policy, refuse by cryptography. */
  readonly kind: 'positive' | 'policy-negative' | 'crypto-negative'
  readonly bytes: Uint8Array
  /** Seconds since the epoch, like the first and the last second in which every certificate is valid. */
  readonly issuedAt: bigint
  readonly validFrom: bigint
  readonly validUntil: bigint
}

type VectorFile = {
  readonly kind: NitroVector['kind']
  readonly timestamp_ms: number
  readonly certificates: readonly { readonly not_before: string; readonly not_after: string }[]
}

const FOLDER = new URL('../../../shared/vectors/nitro/', import.meta.url)

/** All of them, the oldest first; none where the folder is absent. */
export function nitroVectors(): NitroVector[] {
  if (!existsSync(FOLDER)) return []
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.bin'))
    .map(readVector)
    .toSorted((a, b) => Number(a.issuedAt - b.issuedAt))
}

function readVector(name: string): NitroVector {
  const bytes = new Uint8Array(readFileSync(new URL(name, FOLDER)))
  const file = JSON.parse(readFileSync(new URL(name.replace('.bin', '.json'), FOLDER), 'utf8')) as VectorFile
  const seconds = (date: string) => Date.parse(date) / 1000
  return {
    name,
    kind: file.kind,
    bytes,
    issuedAt: BigInt(Math.floor(file.timestamp_ms / 1000)),
    validFrom: BigInt(Math.max(...file.certificates.map(({ not_before }) => seconds(not_before)))),
    validUntil: BigInt(Math.min(...file.certificates.map(({ not_after }) => seconds(not_after)))),
  }
}
