/**
 * A wallet in a file: encrypted under a passphrase, written whole or not at all, open in one process at a time. @module
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { syncFolder } from '#node/syncFolder.ts'
import type { AccountStore } from '../sdk/wallet/account.ts'
import { parseAccount, serializeAccount } from '../sdk/wallet/accountState.ts'
import { openWalletCipher, type WalletCipher } from '../sdk/wallet/walletCipher.ts'
import { takeLock } from './walletLock.ts'

export type WalletFile = { readonly store: AccountStore; close(): void }

/**
 * Opens the file, or the place for a new one. Throws `WalletLockedError`, `WalletFileError` (`WRONG_PASSPHRASE`), `WireError` for a file that is none, and
 * what the file system throws.
 */
export async function openWalletFile(path: string, passphrase: string): Promise<WalletFile> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // What a link points to is replaced, not the link.
  const place = existsSync(path) ? realpathSync(path) : path
  const lock = takeLock(place)
  try {
    const cipher = await openWalletCipher(passphrase, existsSync(place) ? readFileSync(place, 'utf8') : undefined)
    const store = fileStore(place, cipher)
    // A wrong passphrase shows here, before anybody was asked or paid.
    await store.load()
    return { store, close: () => lock.release() }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** Reads the file without locking it: it is replaced whole, so that what is read is complete. Throws as `openWalletFile` does. */
export async function readWalletFile(path: string, passphrase: string): Promise<AccountStore> {
  const cipher = await openWalletCipher(passphrase, readFileSync(path, 'utf8'))
  const { load } = fileStore(path, cipher)
  return { load, save: () => Promise.reject(new Error('the wallet was opened for reading')) }
}

function fileStore(path: string, cipher: WalletCipher): AccountStore {
  return {
    async load() {
      return existsSync(path) ? parseAccount(await cipher.decrypt(readFileSync(path, 'utf8'))) : undefined
    },
    async save(state) {
      replaceFile(path, await cipher.encrypt(serializeAccount(state)))
    },
  }
}

/** Puts a file with this text in the place of another. A crash leaves the one or the other, and never a part. */
export function replaceFile(path: string, text: string): void {
  const next = `${path}.${randomBytes(6).toString('hex')}`
  try {
    const file = openSync(next, 'wx', 0o600)
    try {
      writeSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(next, path)
  } catch (error) {
    rmSync(next, { force: true })
    throw error
  }
  syncFolder(dirname(path))
}
