/**
 * Keeps a second process from a wallet: two that pay from one file would spend the same credits twice. A lock whose process has died is taken over.
 * @module
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { isAlive } from '#node/isAlive.ts'

export type Lock = { release(): void }

/** Takes the lock beside `path`. Throws `WalletLockedError` when a living process has it. */
export function takeLock(path: string): Lock {
  const lock = `${path}.lock`
  const mine = `${process.pid}\n`
  // A second round, behind a lock that was taken over.
  for (let round = 0; round < 2; round++) {
    if (createFile(lock, mine)) return heldLock(lock)
    const theirs = readLock(lock)
    if (theirs !== undefined && isAlive(theirs)) throw new WalletLockedError(path, theirs)
    removeStale(lock, theirs)
  }
  throw new WalletLockedError(path, readLock(lock))
}

function heldLock(lock: string): Lock {
  const release = () => rmSync(lock, { force: true })
  process.once('exit', release)
  return {
    release() {
      process.off('exit', release)
      release()
    },
  }
}

/** Whether the file was made: false when there is one. */
function createFile(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/**
 * Moves the dead process's lock out of the way and looks at what was moved: if somebody has taken the lock over in between, theirs is put back.
 */
function removeStale(lock: string, dead: number | undefined): void {
  const aside = `${lock}.${process.pid}`
  try {
    renameSync(lock, aside)
  } catch (error) {
    // Somebody else has moved it already.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    if (readLock(aside) !== dead) linkSync(aside, lock)
  } catch {
    // A newer lock is there already: it stands.
  } finally {
    rmSync(aside, { force: true })
  }
}

/** The process in a lock; undefined when there is none, or it was cut off while it was written. */
function readLock(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10)
    return Number.isInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    // Gone in the meantime.
    return undefined
  }
}

export class WalletLockedError extends Error {
  override readonly name = 'WalletLockedError'
  constructor(path: string, pid: number | undefined) {
    const holder = pid === undefined ? 'another process' : `process ${pid}`
    super(`${path} is in use by ${holder}: wait for it, or remove ${path}.lock if that is not sealpath`)
  }
}
