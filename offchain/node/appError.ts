/** Failures of the world around a role: a port, a disk, a configuration, an endpoint. @module */

export type AppErrorCode =
  | 'BAD_CONFIG'
  | 'PORT_TAKEN'
  | 'LISTEN_FAILED'
  | 'DATABASE_FAILED'
  | 'RPC_FAILED'
  /** Of several endpoints too few say the same. */
  | 'RPC_DISAGREES'
  | 'PEER_FAILED'
  /** The peer has other sealing keys by now: nothing of the request was read. */
  | 'NOT_OPENED'
  | 'NOT_REGISTERED'
  | 'MISSING_TOOL'

/** `retryable` says whether the same call may succeed later without anybody's help. The message is one sentence for people. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: AppErrorCode
  readonly retryable: boolean
  constructor(code: AppErrorCode, message: string, options: ErrorOptions & { retryable?: boolean } = {}) {
    super(message, options)
    this.code = code
    this.retryable = options.retryable ?? false
  }
}
