import { describe, expect, it } from 'vitest'
import { BackendError, errorBody, parseChatRequest, unsupportedParameter } from './backend.ts'

const messages = [{ role: 'user', content: 'hello', name: 'x' }]

describe('parseChatRequest', () => {
  it('keeps every field it does not know, in the request and in its messages', () => {
    const body = { model: 'm', messages, temperature: 0.5, x_new_field: { a: 1 }, stream: true }
    expect(parseChatRequest(body)).toEqual({
      model: 'm',
      messages,
      stream: true,
      includeUsage: false,
      parameters: { temperature: 0.5, x_new_field: { a: 1 } },
    })
  })

  it('reads whether the client wants a stream and its usage', () => {
    const asked = parseChatRequest({ model: 'm', messages, stream: true, stream_options: { include_usage: true } })
    expect(asked).toMatchObject({ stream: true, includeUsage: true, parameters: {} })
    expect(parseChatRequest({ model: 'm', messages, stream: null, stream_options: null })).toMatchObject({
      stream: false,
      includeUsage: false,
    })
  })

  it.each([
    [null, null],
    [[], null],
    ['text', null],
    [{ messages }, 'model'],
    [{ model: '', messages }, 'model'],
    [{ model: 'm' }, 'messages'],
    [{ model: 'm', messages: [] }, 'messages'],
    [{ model: 'm', messages: ['hello'] }, 'messages[0]'],
    [{ model: 'm', messages: [...messages, { content: 'x' }] }, 'messages[1]'],
    [{ model: 'm', messages, stream: 'yes' }, 'stream'],
    [{ model: 'm', messages, stream_options: [] }, 'stream_options'],
  ])('refuses %j and names the field at fault', (body, param) => {
    expect(() => parseChatRequest(body)).toThrow(
      expect.objectContaining({ name: 'BackendError', status: 400, code: 'INVALID_REQUEST', param }),
    )
  })
})

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
  })

  it('says nothing of the cause', () => {
    const error = new BackendError(503, 'UPSTREAM_UNAVAILABLE', 'server_error', 'down', {
      cause: new Error('10.0.0.7'),
    })
    expect(JSON.stringify(errorBody(error))).not.toContain('10.0.0.7')
  })
})
