/**
 * Several RPC endpoints read as one: what counts is what a quorum of them says alike, so that none can lie, lag, stall or refuse alone.
 * With one endpoint it is believed.
 * @module
 */
import { strict as assert } from 'node:assert'
import type { PublicClient } from 'viem'
import { AppError } from '#node/appError.ts'
import { toJson } from '#protocol/wire/json.ts'

/** Once a quorum has answered, the others have this long to add their word. */
const GRACE_MS = 500

export type Read<T> = (client: PublicClient) => Promise<T>

export class Endpoints {
  readonly #clients: readonly PublicClient[]
  readonly quorum: number

  /** `quorum` from 1 to the number of clients. */
  constructor(clients: readonly PublicClient[], quorum: number) {
    assert(quorum >= 1 && quorum <= clients.length, 'a quorum of the endpoints there are')
    this.#clients = clients
    this.quorum = quorum
  }

  /**
   * The answer that a quorum gives alike, as soon as it has. `keyOf` says what alike means. Throws `AppError`: `RPC_FAILED` when too few answer,
   * `RPC_DISAGREES` when no answer has enough votes.
   */
  agreed<T>(read: Read<T>, keyOf: (answer: T) => string = toJson): Promise<T> {
    const votes = new Map<string, number>()
    return this.#collect<T, T>(read, (answer, settle) => {
      const key = keyOf(answer)
      const count = (votes.get(key) ?? 0) + 1
      votes.set(key, count)
      if (count >= this.quorum) settle(answer)
    })
  }

  /** What at least a quorum answers, each for itself; slow ones are not waited for. Throws `AppError` (`RPC_FAILED`) when too few answer. */
  async several<T>(read: Read<T>): Promise<readonly T[]> {
    const answers: T[] = []
    let grace: NodeJS.Timeout | undefined
    try {
      return await this.#collect<T, readonly T[]>(
        read,
        (answer, settle) => {
          answers.push(answer)
          if (answers.length === this.quorum) grace = setTimeout(() => settle(answers.slice()), GRACE_MS)
        },
        () => answers,
      )
    } finally {
      clearTimeout(grace)
    }
  }

  /** What the first says that has anything to say; `undefined` when none has, of at least a quorum. Throws as `several`. */
  first<T>(read: Read<T | undefined>): Promise<T | undefined> {
    return this.#collect<T | undefined, T | undefined>(
      read,
      (answer, settle) => {
        if (answer !== undefined) settle(answer)
      },
      () => undefined,
    )
  }

  /** Asks all. `take` is told each answer and may settle; `atEnd` settles when all have said something and a quorum has answered. */
  #collect<T, R>(read: Read<T>, take: (answer: T, settle: (result: R) => void) => void, atEnd?: () => R): Promise<R> {
    return new Promise((resolve, reject) => {
      let answered = 0
      const failures: unknown[] = []
      const ask = async (client: PublicClient): Promise<void> => {
        try {
          const answer = await read(client)
          answered++
          take(answer, resolve)
        } catch (error) {
          failures.push(error)
        }
        // What comes here settles nothing if `take` has.
        if (answered + failures.length < this.#clients.length) return
        if (answered < this.quorum) reject(failed(failures))
        else if (atEnd === undefined) reject(disagree())
        else resolve(atEnd())
      }
      for (const client of this.#clients) void ask(client)
    })
  }
}

/** The newest that a quorum has reached, of numbers that only grow. */
export function reachedBy(quorum: number, numbers: readonly bigint[]): bigint | undefined {
  return numbers.toSorted((a, b) => (a > b ? -1 : 1))[quorum - 1]
}

/** The middle one, of two the larger. At least one. */
export function upperMedian(numbers: readonly bigint[]): bigint {
  return sorted(numbers)[Math.floor(numbers.length / 2)] ?? 0n
}

/** The middle one, of two the smaller. At least one. */
export function lowerMedian(numbers: readonly bigint[]): bigint {
  return sorted(numbers)[Math.ceil(numbers.length / 2) - 1] ?? 0n
}

function sorted(numbers: readonly bigint[]): bigint[] {
  return numbers.toSorted((a, b) => (a < b ? -1 : 1))
}

function failed(failures: readonly unknown[]): AppError {
  const [cause] = failures
  // viem's messages hold the whole URL, which may hold a key.
  return new AppError('RPC_FAILED', 'too few RPC endpoints answer', { cause, retryable: true })
}

function disagree(): AppError {
  return new AppError('RPC_DISAGREES', 'the RPC endpoints contradict each other', { retryable: true })
}
