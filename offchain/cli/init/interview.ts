/** Asks for settings one by one: answers come from the command line, from the terminal, or line by line from a pipe. @module */
import { createInterface, type Interface } from 'node:readline/promises'
import { UsageError } from '../command.ts'

export type Question<Answer> = {
  /** As `--set` names it. */
  readonly key: string
  readonly text: string
  /** What an empty answer means; without it one is needed. */
  readonly initial?: string
  /** Throws `AnswerError` with a sentence about what cannot be. */
  readonly parse: (answer: string) => Answer
}

/** An answer that cannot be. The sentence says why. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError'
}

export class Interview {
  readonly #given: Map<string, string>
  readonly #takesInitial: boolean
  #terminal: Interface | undefined
  #lines: AsyncIterator<string> | undefined

  /** `given` are answers by key. With `takesInitial` nobody is asked what has an initial answer. */
  constructor(given: ReadonlyMap<string, string>, takesInitial: boolean) {
    this.#given = new Map(given)
    this.#takesInitial = takesInitial
  }

  /** Asks until the answer can be; one from the command line only once. Throws `UsageError` when nobody answers. */
  async ask<Answer>({ key, text, initial, parse }: Question<Answer>): Promise<Answer> {
    const given = this.#given.get(key) ?? (this.#takesInitial ? initial : undefined)
    this.#given.delete(key)
    if (given !== undefined) return parseOf(key, given, parse)
    for (;;) {
      const line = (await this.#read(`${text}${initial === undefined ? '' : ` [${initial}]`}: `))?.trim()
      if (line === undefined) throw new UsageError(`nobody answered "${text}": give it with --set ${key}=...`)
      try {
        return parse(line === '' ? (initial ?? '') : line)
      } catch (error) {
        if (!(error instanceof AnswerError)) throw error
        process.stderr.write(`${error.message}\n`)
      }
    }
  }

  /** Throws `UsageError` if the command line answers what was not asked. */
  requireAllUsed(): void {
    const [key] = this.#given.keys()
    if (key !== undefined) throw new UsageError(`nothing asks for --set ${key}: check its name`)
  }

  close(): void {
    this.#terminal?.close()
  }

  /** The next line, undefined at the end of the input. */
  async #read(prompt: string): Promise<string | undefined> {
    process.stderr.write(prompt)
    // Questions on standard error: standard output is for what the command made.
    this.#terminal ??= createInterface({ input: process.stdin })
    this.#lines ??= this.#terminal[Symbol.asyncIterator]()
    const { value, done } = await this.#lines.next()
    return done === true ? undefined : value
  }
}

function parseOf<Answer>(key: string, text: string, parse: Question<Answer>['parse']): Answer {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof AnswerError)) throw error
    throw new UsageError(`--set ${key}: ${error.message}`, { cause: error })
  }
}
