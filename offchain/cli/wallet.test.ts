/** The wallet's file, lock, words and options: what is written, who may open it, and what is refused. @module */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AccountState } from '../sdk/wallet/accountState.ts'
import { seedOf, wordsOf } from '../sdk/wallet/walletWords.ts'
import { UsageError } from './command.ts'
import { credits } from './commands/credits.ts'
import { openWalletFile, readWalletFile, replaceFile } from './walletFile.ts'
import { takeLock } from './walletLock.ts'
import { amountOf, delayOf, depositsOf } from './walletOptions.ts'

const STATE: AccountState = {
  format: 'sealpath-account/1',
  chainId: 31_337,
  vault: `0x${'aa'.repeat(20)}`,
  seed: new Uint8Array(32).fill(3),
  isRestoring: false,
  keysets: [],
}

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-wallet-'))
  path = join(folder, 'deep', 'wallet')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

async function withFile<T>(act: (file: Awaited<ReturnType<typeof openWalletFile>>) => Promise<T>): Promise<T> {
  const file = await openWalletFile(path, 'correct horse')
  try {
    return await act(file)
  } finally {
    file.close()
  }
}

describe('a wallet file', () => {
  it('keeps what was saved, for its owner and its passphrase only', async () => {
    await withFile(async ({ store }) => {
      expect(await store.load()).toBeUndefined()
      await store.save(STATE)
    })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'deep')).mode & 0o777).toBe(0o700)
    expect(readFileSync(path, 'utf8')).not.toContain('seed')
    expect(await withFile(({ store }) => store.load())).toEqual(STATE)
    await expect(openWalletFile(path, 'battery staple')).rejects.toMatchObject({ code: 'WRONG_PASSPHRASE' })
    // Failing to open it leaves no lock behind.
    expect(readdirSync(join(folder, 'deep'))).toEqual(['wallet'])
  })

  it('is open in one place at a time, and can be looked at meanwhile', async () => {
    await withFile(async ({ store }) => {
      await store.save(STATE)
      await expect(openWalletFile(path, 'correct horse')).rejects.toThrow(/in use by process \d+/)
      const reader = await readWalletFile(path, 'correct horse')
      expect(await reader.load()).toEqual(STATE)
      await expect(reader.save(STATE)).rejects.toThrow('opened for reading')
    })
    expect(await withFile(({ store }) => store.load())).toEqual(STATE)
  })

  it('behind a link is replaced where it is', async () => {
    await withFile(({ store }) => store.save(STATE))
    const link = join(folder, 'link')
    symlinkSync(path, link)
    const file = await openWalletFile(link, 'correct horse')
    await file.store.save({ ...STATE, chainId: 1 })
    file.close()
    expect((await withFile(({ store }) => store.load()))?.chainId).toBe(1)
  })

  it('that cannot be written stays as it was, with nothing left beside it', () => {
    const target = join(folder, 'target')
    replaceFile(target, 'one')
    // A folder cannot be replaced by a file.
    expect(() => replaceFile(folder, 'two')).toThrow()
    expect(readFileSync(target, 'utf8')).toBe('one')
    expect(readdirSync(folder)).toEqual(['target'])
  })

  it('that is something else is refused', async () => {
    writeFileSync(join(folder, 'junk'), 'hello')
    await expect(openWalletFile(join(folder, 'junk'), 'x')).rejects.toMatchObject({ name: 'WireError' })
  })
})

describe('a lock', () => {
  it('of a process that died is taken over, one of a living process is not', async () => {
    const target = join(folder, 'wallet')
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    writeFileSync(`${target}.lock`, `${child.pid}\n`)
    expect(() => takeLock(target)).toThrow(`process ${child.pid}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lock = takeLock(target)
    expect(readFileSync(`${target}.lock`, 'utf8')).toBe(`${process.pid}\n`)
    lock.release()
    expect(readdirSync(folder)).toEqual([])
  })

  it('that was cut off while it was written is taken over', () => {
    const target = join(folder, 'wallet')
    writeFileSync(`${target}.lock`, '')
    takeLock(target).release()
    expect(existsSync(`${target}.lock`)).toBe(false)
  })
})

describe('the words', () => {
  it('are the seed in BIP-39: 32 zero bytes are 23 times abandon, and art', () => {
    const words = `${'abandon '.repeat(23)}art`
    expect(wordsOf(new Uint8Array(32))).toBe(words)
    expect(seedOf(`\n  ${words.toUpperCase().replaceAll(' ', '\n ')} `)).toEqual(new Uint8Array(32))
  })

  it('with a wrong one, too few, or in another order are none', () => {
    const words = wordsOf(new Uint8Array(32).fill(7))
    const list = words.split(' ')
    expect(seedOf(words)).toEqual(new Uint8Array(32).fill(7))
    const twelve = `${'abandon '.repeat(11)}about`
    for (const wrong of [
      '',
      'zebra',
      `${words} zoo`,
      list.toReversed().join(' '),
      twelve,
      words.replace(/^\w+/, 'zz'),
    ]) {
      expect(seedOf(wrong)).toBeUndefined()
    }
  })
})

describe('options', () => {
  it('split an amount into deposits, largest first', () => {
    expect(depositsOf('1')).toEqual([1_000_000n])
    expect(depositsOf('112 OPG')).toEqual([100_000_000n, 10_000_000n, 1_000_000n, 1_000_000n])
    for (const wrong of ['0', '0.5', '1.000001', '-1', 'one', '3000'])
      expect(() => depositsOf(wrong)).toThrow(UsageError)
  })

  it('read amounts and pauses, and refuse what is none', () => {
    expect(amountOf('0.000001', 'x')).toBe(1n)
    for (const wrong of ['0', '', '1 ETH', '1.0000001']) expect(() => amountOf(wrong, 'x')).toThrow(UsageError)
    const none = { minimumSeconds: 0, maximumSeconds: 0 }
    expect(delayOf(undefined, none)).toBe(none)
    expect(delayOf('10-60', none)).toEqual({ minimumSeconds: 600, maximumSeconds: 3_600 })
    expect(delayOf('0', none)).toEqual(none)
    for (const wrong of ['', '-1', '60-10', '1.5', 'soon', '1-2-3'])
      expect(() => delayOf(wrong, none)).toThrow(UsageError)
  })

  it.each([
    ['nothing to do', []],
    ['something unknown', ['sell']],
    ['no amount to buy', ['buy']],
    ['an unknown way', ['buy', '1', '--way', 'cash']],
    ['no chain', ['buy', '1']],
    ['nobody to pay', ['exit', '1']],
    ['an address that is none', ['exit', '--to', '0x12']],
    ['more than it takes', ['balance', 'please']],
    ['an unknown option', ['resume', '--fast']],
  ])('that are wrong are said to be: %s', async (_what, args) => {
    vi.stubEnv('SEALPATH_RPC', '')
    vi.stubEnv('HOME', folder)
    await expect(credits.run([...args])).rejects.toThrow(UsageError)
    expect(readdirSync(folder)).toEqual([])
  })
})
