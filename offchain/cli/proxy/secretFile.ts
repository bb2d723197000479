/** The secret that apps show to the proxy: made once, kept in a file that only its owner may read, so that apps need it only once. @module */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

const SECRET = /^[\x21-\x7e]{16,200}$/

/** Reads the secret, or makes one. Throws an `Error` with a sentence for a file that holds none. */
export function readSecret(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const secret = `sk-sealpath-${randomBytes(24).toString('base64url')}`
    writeFileSync(path, `${secret}\n`, { mode: 0o600, flag: 'wx' })
    return secret
  } catch (error) {
    if (!(error instanceof Error) || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const secret = readFileSync(path, 'utf8').trim()
  if (!SECRET.test(secret))
    throw new Error(`${path} holds no secret of 16 characters or more: remove it to get a new one`)
  return secret
}
