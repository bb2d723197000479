/** Private keys of accounts, kept in files of their own. @module */
import { readFileSync } from 'node:fs'
import type { Hex } from '#protocol/bytes.ts'
import { AppError } from './appError.ts'

/** A secp256k1 private key of 32 bytes in hex. Throws `AppError` (`BAD_CONFIG`) naming the file, never what is in it. */
export function readKeyFile(path: string): Hex {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new AppError('BAD_CONFIG', `cannot read the key file ${path}`, { cause })
  }
  if (!/^0x[0-9a-f]{64}$/i.test(text) || /^0x0+$/.test(text)) {
    throw new AppError('BAD_CONFIG', `${path} does not hold a private key of 32 bytes in hex`)
  }
  return text as Hex
}
