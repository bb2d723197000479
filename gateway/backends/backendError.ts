/** How requests fail before or behind the model, in the words of OpenAI's clients. @module */

export type BackendErrorCode =
  | 'INVALID_REQUEST'
  | 'UNSUPPORTED_PARAMETER'
  | 'CONTEXT_LENGTH_EXCEEDED'
  | 'MODEL_NOT_FOUND'
  /** The model exists and does not do what this resource is for. */
  | 'WRONG_MODEL'
  | 'RATE_LIMITED'
  /** This gateway has as many answers under way as it may. */
  | 'OVERLOADED'
  /** Nothing was said within the time that an answer may take. */
  | 'TIMED_OUT'
  /** An answer that cannot be cut is larger than answers may be. */
  | 'ANSWER_TOO_LARGE'
  | 'UPSTREAM_UNAVAILABLE'
  | 'UPSTREAM_REFUSED'
  | 'UPSTREAM_MALFORMED'
  | 'UPSTREAM_CUT'
  | 'ABORTED'

/** `message` may go to the client: it names no host, file or key of ours. */
export class BackendError extends Error {
  override readonly name = 'BackendError'
  /** HTTP status of the answer to the client. */
  readonly status: number
  readonly code: BackendErrorCode
  /** OpenAI's error type. */
  readonly type: string
  /** The field of the request at fault. */
  readonly param: string | null

  constructor(
    status: number,
    code: BackendErrorCode,
    type: string,
    message: string,
    options?: ErrorOptions & { param?: string | null },
  ) {
    super(message, options)
    this.status = status
    this.code = code
    this.type = type
    this.param = options?.param ?? null
  }
}

/** The body OpenAI clients expect of a failed request; goes out with `error.status`. */
export function errorBody(error: BackendError): {
  error: { message: string; type: string; param: string | null; code: string }
} {
  return {
    error: { message: error.message, type: error.type, param: error.param, code: error.code.toLowerCase() },
  }
}

/** 400 for a request that is wrong whatever the backend. */
export function invalidRequest(message: string, param: string | null): BackendError {
  return new BackendError(400, 'INVALID_REQUEST', 'invalid_request_error', message, { param })
}

/** 400 for a field that cannot be honoured: refused, because dropping it would change the answer unseen. */
export function unsupportedParameter(param: string, why: string): BackendError {
  const message = `'${param}' is not supported by this model: ${why}`
  return new BackendError(400, 'UNSUPPORTED_PARAMETER', 'invalid_request_error', message, { param })
}

/** 404 for a model name that is not served. */
export function modelNotFound(name: string): BackendError {
  const message = `the model '${name.slice(0, 100)}' is not served here`
  return new BackendError(404, 'MODEL_NOT_FOUND', 'invalid_request_error', message, { param: 'model' })
}

/** 400 for a model asked for something it does not serve. */
export function wrongModel(name: string, asked: string, serves: readonly string[]): BackendError {
  const message = `the model '${name}' does not serve ${asked}, only ${serves.join(' and ')}`
  return new BackendError(400, 'WRONG_MODEL', 'invalid_request_error', message, { param: 'model' })
}

/** 503 for a gateway, or one of its backends, that is busy. */
export function overloaded(message: string): BackendError {
  return new BackendError(503, 'OVERLOADED', 'server_error', message)
}

/** The error of a request whose `signal` fired; 499 never reaches the client, who has left. */
export function aborted(cause: unknown): BackendError {
  return new BackendError(499, 'ABORTED', 'aborted', 'the request was cancelled', { cause })
}
