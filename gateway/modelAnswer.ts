/**
 * A model's answer while it is produced, within what this gateway allows: at a bound the model is stopped and the choices that are open are finished, so that
 * the client has an answer whose receipt says how it ended, charged for what was produced. @module
 */
import type { AnswerRecord } from './answerRecord.ts'
import { type AnswerEvent, saysSomething } from './backends/backend.ts'
import { BackendError } from './backends/backendError.ts'
import type { Question } from './resources.ts'

export type ModelAnswerOptions = {
  readonly question: Question
  readonly record: AnswerRecord
  /** Starts the model with the first `next()` of what it answers. */
  readonly ask: (signal: AbortSignal) => AsyncIterable<AnswerEvent>
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal
  readonly secondsMax: number
  /** Called once, when the model works no longer. */
  readonly onEnd: () => void
}

/** Why an answer ends before the model does: each choice has its tokens, the time is over, or the body would be too large. */
type Bound = 'tokens' | 'time' | 'size'

export class ModelAnswer {
  readonly #options: ModelAnswerOptions
  readonly #source: AsyncIterator<AnswerEvent>
  readonly #stop = new AbortController()
  readonly #timer: NodeJS.Timeout
  #first: IteratorResult<AnswerEvent> | undefined
  #bound: Bound | undefined
  #hasEnded = false

  constructor(options: ModelAnswerOptions) {
    this.#options = options
    const signal = AbortSignal.any([options.signal, this.#stop.signal])
    this.#source = options.ask(signal)[Symbol.asyncIterator]()
    this.#timer = setTimeout(() => {
      this.#bound ??= 'time'
      this.abort()
    }, options.secondsMax * 1_000)
  }

  /** Starts the model and waits for its first event. Throws `BackendError`: a refusal comes before it, and only until then can be an answer of its own. */
  async begin(): Promise<void> {
    try {
      this.#first = await this.#source.next()
    } catch (error) {
      this.#end()
      throw this.#isBoundReached ? timedOut(error) : error
    }
  }

  /** All events, to be called once, after `begin`. Throws what the model throws, and `BackendError` at a bound when there is nothing to finish. */
  async *events(): AsyncGenerator<AnswerEvent, void, undefined> {
    const { question, record } = this.#options
    const open = new Set(Array.from({ length: question.choices }, (_, choice) => choice))
    try {
      for (let next = this.#first; next !== undefined && next.done !== true; next = await this.#source.next()) {
        const event = next.value
        if (event.kind === 'delta' && saysSomething(event.raw) && record.pieces >= question.piecesMax) {
          this.#bound ??= 'tokens'
        }
        if (this.#bound === 'tokens') break
        yield event
        if (event.kind === 'finish') open.delete(event.choice)
        if (this.#bound === 'size') break
        if (event.kind === 'usage') return
      }
    } catch (error) {
      if (!this.#isBoundReached) throw error
    } finally {
      await this.stop()
    }
    if (this.#bound !== undefined) yield* this.#finish(open, this.#bound)
  }

  /** There is no room for the event just given: it does not count, and the choices are finished. */
  refuse(): void {
    this.#bound ??= 'size'
  }

  /** Makes the model stop, and `events` throw `ABORTED`. */
  abort(): void {
    this.#stop.abort()
  }

  /** Waits until the model has stopped. */
  async stop(): Promise<void> {
    await this.#source.return?.()
    this.#end()
  }

  get #isBoundReached(): boolean {
    return this.#bound !== undefined && !this.#options.signal.aborted
  }

  *#finish(open: ReadonlySet<number>, bound: Bound): Generator<AnswerEvent, void, undefined> {
    const { question, record } = this.#options
    const { finishAtBound } = question.format
    if (finishAtBound === undefined || record.pieces === 0) throw bound === 'size' ? tooLarge() : timedOut()
    for (const choice of open) yield finishAtBound(choice)
    if (bound !== 'tokens') record.outcome = 'cut'
    yield { kind: 'usage', ...record.usage, reported: false }
  }

  #end(): void {
    clearTimeout(this.#timer)
    if (!this.#hasEnded) this.#options.onEnd()
    this.#hasEnded = true
  }
}

function timedOut(cause?: unknown): BackendError {
  const message = 'the model did not answer within the time that this gateway gives it'
  return new BackendError(504, 'TIMED_OUT', 'server_error', message, { cause })
}

function tooLarge(): BackendError {
  const message = 'the answer is larger than this gateway allows: ask for less at once'
  return new BackendError(400, 'ANSWER_TOO_LARGE', 'invalid_request_error', message)
}
