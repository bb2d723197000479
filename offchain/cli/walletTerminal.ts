/** What a wallet asks a person for: the passphrase, without echo, and the words. @module */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { text as readText } from 'node:stream/consumers'
import { seedOf } from '../sdk/wallet/walletWords.ts'
import { UsageError } from './command.ts'

/**
 * The passphrase: from the file, from SEALPATH_PASSPHRASE, or from the terminal; twice there for a new wallet. Throws `UsageError` when there is none.
 */
export async function readPassphrase(file: string | undefined, isNew: boolean): Promise<string> {
  const given = file === undefined ? process.env.SEALPATH_PASSPHRASE : readPassphraseFile(file)
  if (given !== undefined && given !== '') return given
  if (given === '' || !process.stdin.isTTY) {
    throw new UsageError('give the passphrase in SEALPATH_PASSPHRASE or --passphrase-file, or run this in a terminal')
  }
  const passphrase = await askHidden(isNew ? 'Passphrase for the new wallet: ' : 'Passphrase: ')
  if (passphrase === '') throw new UsageError('the passphrase is empty')
  if (isNew && (await askHidden('The same again: ')) !== passphrase) {
    throw new UsageError('the two passphrases differ: nothing was written')
  }
  return passphrase
}

/** The seed of the 24 words on standard input, typed or piped. Throws `UsageError`. */
export async function readSeed(): Promise<Uint8Array> {
  const seed = seedOf(
    process.stdin.isTTY ? await askLine('The 24 words of the wallet: ') : await readText(process.stdin),
  )
  if (seed === undefined) {
    throw new UsageError('these are not the 24 words of a wallet: check spelling and order; nothing was written')
  }
  return seed
}

function readPassphraseFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    throw new UsageError(`cannot read the passphrase file ${path}`, { cause })
  }
}

async function askLine(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await terminal.question(question)
  } finally {
    terminal.close()
  }
}

const ENTER = new Set(['\r', '\n', '\u0004'])
const INTERRUPT = '\u0003'
const BACKSPACE = new Set(['\u007f', '\b'])

/** Reads a line of the terminal without showing it. */
function askHidden(question: string): Promise<string> {
  const { stdin, stderr } = process
  stderr.write(question)
  return new Promise((resolve, reject) => {
    let characters: string[] = []
    const end = (finish: () => void) => {
      stdin.off('data', onData)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
      finish()
    }
    const onData = (data: string) => {
      for (const character of data) {
        if (ENTER.has(character)) return end(() => resolve(characters.join('')))
        if (character === INTERRUPT) return end(() => reject(new Error('stopped; nothing was written')))
        if (BACKSPACE.has(character)) characters = characters.slice(0, -1)
        else characters.push(character)
      }
    }
    stdin.setRawMode(true)
    stdin.setEncoding('utf8')
    stdin.resume()
    stdin.on('data', onData)
  })
}
