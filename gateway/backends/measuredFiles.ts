/** Files whose digest stands in the configuration, and so in the measured image: what makes a model `measured`. @module */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'

/** `sha256`: 64 hex digits in lower case. */
export type MeasuredFile = { readonly path: string; readonly sha256: string }

const PIECE_BYTES = 8 * 1024 * 1024

/** Reads every file and compares. Throws an error that names the first one that is missing or another. */
export function requireMeasured(files: readonly MeasuredFile[]): void {
  for (const { path, sha256 } of files) {
    const actual = sha256Of(path)
    if (actual !== sha256) throw new Error(`${path} has the SHA-256 ${actual}, and the configuration says ${sha256}`)
  }
}

/** SHA-256 of a file, hex. Read in pieces: a model may be larger than memory. */
export function sha256Of(path: string): string {
  const hash = createHash('sha256')
  const piece = Buffer.alloc(PIECE_BYTES)
  const file = openSync(path, 'r')
  try {
    for (;;) {
      const length = readSync(file, piece)
      if (length === 0) return hash.digest('hex')
      hash.update(piece.subarray(0, length))
    }
  } finally {
    closeSync(file)
  }
}
