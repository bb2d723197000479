/**
 * One answer from the model's start to its receipt: paid for before anything leaves, recorded while it does, and captured for what was used.
 *
 * The receipt travels as a Binary HTTP trailer, so that the body is what any OpenAI client expects.
 * @module
 */
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import type { Field } from '#protocol/sealing/binaryHttpFields.ts'
import { fillerComment, type PaddingMode } from '#protocol/shape.ts'
import { CHANGE_TRAILER } from '#protocol/wire/paymentField.ts'
import { RECEIPT_TRAILER, type ReceiptMessage, serializeReceiptMessage } from '#protocol/wire/receiptFile.ts'
import type { AnswerRecord } from './answerRecord.ts'
import type { AnswerEvent } from './backends/backend.ts'
import { BackendError } from './backends/backendError.ts'
import { watchDelivery } from './delivery.ts'
import type { AnswerFrame } from './formats/format.ts'
import type { ModelAnswer } from './modelAnswer.ts'
import type { PaymentSession } from './payment.ts'
import type { Question } from './resources.ts'
import { shapeEvents } from './shape.ts'

export type PaidAnswerOptions = {
  readonly question: Question
  readonly frame: AnswerFrame
  readonly answer: ModelAnswer
  readonly record: AnswerRecord
  /** Undefined where nothing costs anything. */
  readonly payment: PaymentSession | undefined
  /** Issues the receipt. Rejects when the log takes no more: then nothing is charged. */
  readonly issue: () => Promise<ReceiptMessage>
  readonly mode: PaddingMode
  readonly bodyBytesMax: number
  readonly deliverySecondsMax: number
  readonly readerTimeoutSeconds: number
  /** Called when the answer needs its place no longer; more than once changes nothing. */
  readonly release: () => void
}

/**
 * Waits for the model's first event, because a refusal comes before it and only until then can it be an answer of its own; and for the reserve, because
 * nothing leaves unpaid. Whichever fails ends the other. Throws `BackendError`, `PaymentError`.
 */
export async function beginAnswer({ answer, payment, record }: PaidAnswerOptions): Promise<void> {
  const begun = answer.begin()
  if (payment === undefined) return begun
  // Awaited below, whatever the reserve says.
  begun.catch(() => undefined)
  try {
    record.feeMax = await payment.reserved
  } catch (error) {
    answer.abort()
    // However long the model takes to notice, the refusal does not wait for it.
    void begun.then(() => answer.stop()).catch(() => undefined)
    throw error
  }
  try {
    await begun
  } catch (error) {
    void payment.capture(0n)
    throw error
  }
}

/** An answer in one piece, its receipt issued before any of it leaves. Throws what the model throws; then nothing is charged. */
export async function answerWhole(options: PaidAnswerOptions): Promise<InnerResponse> {
  const { question, frame, answer, record, payment, release } = options
  const builder = question.format.createBuilder()
  let bytes = 0
  try {
    for await (const event of answer.events()) {
      const size = sizeOf(event)
      if (size > 0 && bytes + size > options.bodyBytesMax) {
        answer.refuse()
        continue
      }
      bytes += size
      record.note(event)
      builder.add(event)
    }
  } catch (error) {
    void payment?.capture(0n)
    throw error
  }
  const body = record.append(encodeUtf8(JSON.stringify(builder.build(frame))))
  const trailers = await settle(options)
  return { status: 200, headers: [['content-type', record.contentType]], body, trailers: () => trailers, release }
}

/** What an event adds to a whole body. That of a choice's end is not counted, so that an answer at its bound can still end. */
function sizeOf(event: AnswerEvent): number {
  if (event.kind === 'embedding') return JSON.stringify(event.values).length
  return event.kind === 'delta' ? encodeUtf8(JSON.stringify(event.raw)).length : 0
}

/** An answer piece by piece. What it ends with is told by its trailers, and a fault of the model by their absence. */
export function answerStreamed(options: PaidAnswerOptions): InnerResponse {
  const { answer, record, payment, release } = options
  record.contentType = 'text/event-stream'
  let isSettled = false
  const body = watchDelivery(shapeEvents(streamEvents(options), options.mode), {
    readerTimeoutSeconds: options.readerTimeoutSeconds,
    secondsMax: options.deliverySecondsMax,
    onTimeout: () => answer.abort(),
    async onStopped() {
      await answer.stop()
      if (!isSettled) await settleStopped(options)
      release()
    },
  })
  return {
    status: 200,
    headers: [['content-type', record.contentType]],
    body,
    filler: fillerComment,
    async trailers() {
      isSettled = true
      try {
        // The last words leave in this turn of the event loop, and do not wait for the milliseconds that a receipt takes.
        await new Promise((resolve) => setImmediate(resolve))
        return await settle(options)
      } finally {
        release()
      }
    },
  }

  async function settleStopped({ issue }: PaidAnswerOptions): Promise<void> {
    isSettled = true
    // Whoever left is charged for what was produced, even after everything but the receipt; a failed model charges nothing.
    if (record.hasFailed || record.pieces === 0) return void payment?.capture(0n)
    record.outcome = 'cut'
    // Nobody is there to take the receipt: it only has to be in the log. A full log refuses it, and then nothing is charged.
    const message = await issue().catch(() => undefined)
    record.forget()
    void payment?.capture(message?.private.fee ?? 0n)
  }
}

/** Issues the receipt and captures its fee. Answers the trailers. */
async function settle({ issue, payment, record }: PaidAnswerOptions): Promise<readonly Field[]> {
  const message = await issue().catch((error: unknown) => {
    void payment?.capture(0n)
    throw error
  })
  record.forget()
  const change = await payment?.capture(message.private.fee)
  const receipt: Field = [RECEIPT_TRAILER, serializeReceiptMessage(message)]
  return change === undefined ? [receipt] : [receipt, [CHANGE_TRAILER, change]]
}

/** The bytes of the event stream, one event a piece. */
async function* streamEvents(options: PaidAnswerOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const { question, frame, answer, record, bodyBytesMax } = options
  try {
    for await (const event of answer.events()) {
      const isSent = event.kind !== 'usage' || question.includeUsage
      const bytes = encodeUtf8(`data: ${JSON.stringify(question.format.chunk?.(frame, event))}\n\n`)
      if (event.kind === 'delta' && record.bodyBytes + bytes.length > bodyBytesMax) {
        answer.refuse()
        continue
      }
      record.note(event)
      if (isSent) yield record.append(bytes)
    }
    yield record.append(encodeUtf8('data: [DONE]\n\n'))
  } catch (error) {
    record.hasFailed = !(error instanceof BackendError && error.code === 'ABORTED')
    throw error
  }
}
