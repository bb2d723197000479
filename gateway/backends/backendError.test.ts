/** What clients read of a failed request. @module */
import { describe, expect, it } from 'vitest'
import { BackendError, errorBody, overloaded, unsupportedParameter, wrongModel } from './backendError.ts'

describe('errorBody', () => {
  it('has the form OpenAI clients read', () => {
    expect(errorBody(unsupportedParameter('tools', 'it is small'))).toEqual({
      error: {
        message: "'tools' is not supported by this model: it is small",
        type: 'invalid_request_error',
        param: 'tools',
        code: 'unsupported_parameter',
      },
    })
    expect(errorBody(wrongModel('m', 'embeddings', ['chat', 'completions']))).toEqual({
      error: {
        message: "the model 'm' does not serve embeddings, only chat and completions",
        type: 'invalid_request_error',
        param: 'model',
        code: 'wrong_model',
      },
    })
    expect(errorBody(overloaded('busy')).error).toEqual({
      message: 'busy',
      type: 'server_error',
      param: null,
      code: 'overloaded',
    })
  })

  it('says nothing of the cause', () => {
    const error = new BackendError(503, 'UPSTREAM_UNAVAILABLE', 'server_error', 'down', {
      cause: new Error('10.0.0.7'),
    })
    expect(JSON.stringify(errorBody(error))).not.toContain('10.0.0.7')
  })
})
