/** What a gateway takes at most, of each request and at once. @module */
import * as v from 'valibot'
import { SEALED_SERVER_LIMITS, type SealedServerLimits } from '#node/sealing/openHttpRequest.ts'
import { CHUNK_BYTES_SEND } from '#protocol/sealing/chunkSealing.ts'
import { type PaddingMode, TICK_MS } from '#protocol/shape.ts'
import type { Schema } from '#protocol/wire/json.ts'
import { REQUEST_LIMITS, type RequestLimits } from './requests/request.ts'

export type TargetLimits = RequestLimits & {
  /** Answers under way at once, to the end of their delivery; above it clients are told to come back. */
  readonly answersMax: number
  /** How long the model may work on one answer. */
  readonly answerSecondsMax: number
  /** Bytes of one answer's body, which is kept for its commitment. */
  readonly answerBytesMax: number
  /** How long the reader of a stream may take nothing of it. */
  readonly readerTimeoutSeconds: number
}

export const TARGET_LIMITS: TargetLimits = {
  ...REQUEST_LIMITS,
  answersMax: 256,
  answerSecondsMax: 600,
  answerBytesMax: 16_777_216,
  readerTimeoutSeconds: 30,
}

/** The longest time that a timer takes: 24 days. */
const TIMER_SECONDS_MAX = 2_147_483

/**
 * How long the whole delivery of an answer may take, in seconds: as long as the model may, as long again for what is behind it, and one silence of the reader.
 * In `private` mode its bytes leave at the pace of cells, and those that fill the class of length are at most as many.
 */
export function deliverySecondsMax(limits: TargetLimits, mode: PaddingMode): number {
  const { answerSecondsMax, answerBytesMax, readerTimeoutSeconds } = limits
  const cellsSeconds = mode === 'private' ? (answerBytesMax / CHUNK_BYTES_SEND) * (TICK_MS / 1_000) : 0
  return Math.min(2 * (answerSecondsMax + cellsSeconds) + readerTimeoutSeconds, TIMER_SECONDS_MAX)
}

export type GatewayLimits = TargetLimits & {
  /** Largest inner request body, in bytes. */
  readonly requestBytesMax: number
  /** Leaves kept for an operator agent that does not come. */
  readonly leavesKeptMax: number
  /** Encapsulated keys remembered against replay, per key. */
  readonly replaysMax: number
  /** How far the date of a request may be from ours, in seconds. */
  readonly dateWindowSeconds: number
}

export const GATEWAY_LIMITS: GatewayLimits = {
  ...TARGET_LIMITS,
  requestBytesMax: 16 * 1024 * 1024,
  leavesKeptMax: 1_000_000,
  replaysMax: 1_000_000,
  dateWindowSeconds: 300,
}

/** What the sealed server before the target takes. */
export function sealedLimits({ requestBytesMax }: GatewayLimits): SealedServerLimits {
  return {
    ...SEALED_SERVER_LIMITS,
    contentBytesMax: requestBytesMax,
    // Chunk lengths and tags add less than a hundredth; padding up to the next class less than a tenth.
    messageBytesMax: Math.ceil(requestBytesMax * 1.2) + 65_536,
  }
}

const atLeastOne = v.pipe(v.number(), v.integer(), v.minValue(1))

/** Each that is not named has its default. A timer takes at most 24 days, which is more than anybody waits. */
export const GatewayLimitsSchema: Schema<GatewayLimits> = v.object({
  completionTokensMax: v.optional(atLeastOne, GATEWAY_LIMITS.completionTokensMax),
  choicesMax: v.optional(atLeastOne, GATEWAY_LIMITS.choicesMax),
  inputsMax: v.optional(atLeastOne, GATEWAY_LIMITS.inputsMax),
  answersMax: v.optional(atLeastOne, GATEWAY_LIMITS.answersMax),
  answerSecondsMax: v.optional(v.pipe(atLeastOne, v.maxValue(86_400)), GATEWAY_LIMITS.answerSecondsMax),
  answerBytesMax: v.optional(atLeastOne, GATEWAY_LIMITS.answerBytesMax),
  readerTimeoutSeconds: v.optional(v.pipe(atLeastOne, v.maxValue(86_400)), GATEWAY_LIMITS.readerTimeoutSeconds),
  requestBytesMax: v.optional(atLeastOne, GATEWAY_LIMITS.requestBytesMax),
  leavesKeptMax: v.optional(atLeastOne, GATEWAY_LIMITS.leavesKeptMax),
  replaysMax: v.optional(atLeastOne, GATEWAY_LIMITS.replaysMax),
  dateWindowSeconds: v.optional(atLeastOne, GATEWAY_LIMITS.dateWindowSeconds),
})
