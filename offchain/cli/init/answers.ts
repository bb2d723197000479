/** How answers are read, each with its sentence for what cannot be. @module */
import type { Hex } from '#protocol/bytes.ts'
import { AnswerError } from './interview.ts'

export type ListenAnswer = { readonly host: string; readonly port: number }

/** `host:port`, the host of IPv6 in brackets. */
export function readListen(answer: string): ListenAnswer {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(answer)
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || port > 65_535) throw new AnswerError('expected host:port, as 127.0.0.1:8080')
  return { host, port }
}

/** How a process on the same machine reaches what listens there. */
export function urlOfListen({ host, port }: ListenAnswer): string {
  const own = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${own.includes(':') ? `[${own}]` : own}:${port}`
}

export function readUrl(answer: string): string {
  if (URL.canParse(answer) && /^https?:$/.test(new URL(answer).protocol)) return answer
  throw new AnswerError('expected an http or https URL')
}

/** URLs with commas between them, at least `least`. */
export function readUrls(least: number): (answer: string) => string[] {
  return (answer) => {
    const urls = readList(answer).map(readUrl)
    if (urls.length < least) throw new AnswerError(least === 1 ? 'expected a URL' : `expected ${least} URLs at least`)
    if (new Set(urls).size < urls.length) throw new AnswerError('expected URLs that all differ')
    return urls
  }
}

/** What stands between commas. */
export function readList(answer: string): string[] {
  return answer.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]))
}

/** Some names at least. */
export function readNames(answer: string): string[] {
  const names = readList(answer)
  if (names.length === 0) throw new AnswerError('expected a name at least')
  if (new Set(names).size < names.length) throw new AnswerError('expected names that all differ')
  return names
}

/** 32-byte values in hex with commas between them; none is fine. */
export function readHashes(answer: string): Hex[] {
  return readList(answer).map((text) => {
    if (!/^0x[0-9a-fA-F]{64}$/.test(text)) throw new AnswerError('expected 0x and 64 hex digits')
    return text as Hex
  })
}

export function readText(answer: string): string {
  if (answer === '') throw new AnswerError('expected an answer')
  return answer
}

/** A whole number of at least 1. */
export function readCount(answer: string): number {
  const count = Number(answer)
  if (!/^\d{1,15}$/.test(answer) || count < 1) throw new AnswerError('expected a whole number of at least 1')
  return count
}

/** A price in units of 10^12 base units of OPG, below 2^48. */
export function readUnits(answer: string): string {
  if (!/^(0|[1-9]\d{0,14})$/.test(answer) || BigInt(answer) >= 2n ** 48n) {
    throw new AnswerError('expected a whole number of units below 2^48; one OPG has 1,000,000')
  }
  return answer
}

/** One of `choices`. */
export function readChoice<const Choice extends string>(...choices: readonly Choice[]): (answer: string) => Choice {
  return (answer) => {
    const choice = choices.find((candidate) => candidate === answer)
    if (choice === undefined) throw new AnswerError(`expected ${choices.join(' or ')}`)
    return choice
  }
}
