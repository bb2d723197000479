/** Parser of `POST /v1/chat/completions`: what the gateway relies on; the rest is the backend's to accept or refuse. @module */
import { isRecord } from '#protocol/isRecord.ts'
import { invalidRequest } from '../backends/backendError.ts'
import { parseCommonFields, parseCount, parseStreaming } from './fields.ts'
import { checkParts } from './messageParts.ts'
import { type ChatMessage, type ChatRequest, type Parameters, REQUEST_LIMITS, type RequestLimits } from './request.ts'

/** Throws `BackendError` (400, `INVALID_REQUEST` or `UNSUPPORTED_PARAMETER`) that names the field at fault. */
export function parseChatRequest(body: unknown, limits: RequestLimits = REQUEST_LIMITS): ChatRequest {
  const { model, parameters } = parseCommonFields(body)
  const { stream, includeUsage, others } = parseStreaming(parameters)
  const { messages, ...rest } = others
  const fields = withoutIdleChoice(rest)
  if (!Array.isArray(messages) || messages.length === 0) {
    throw invalidRequest("'messages' must be an array of at least one message", 'messages')
  }
  const tokens = parseCount(fields, 'max_tokens', 1, limits.completionTokensMax)
  const completionTokens = parseCount(fields, 'max_completion_tokens', 1, limits.completionTokensMax)
  const asked = completionTokens ?? tokens
  checkTools(fields.tools)
  checkFormat(fields.response_format)
  return {
    model,
    messages: messages.map(parseMessage),
    stream,
    includeUsage,
    choices: parseCount(fields, 'n', 1, limits.choicesMax) ?? 1,
    tokensMax: asked ?? limits.completionTokensMax,
    isBounded: asked !== undefined,
    parameters: fields,
  }
}

/** Which of no tools is to be called, or of some as the model likes, is what happens anyway. */
function withoutIdleChoice(parameters: Parameters): Parameters {
  const { tool_choice: choice, parallel_tool_calls: parallel, ...fields } = parameters
  const hasTools = fields.tools !== undefined
  const isIdle = choice === undefined || choice === 'auto' || (choice === 'none' && !hasTools)
  const isParallelIdle = parallel === undefined || (typeof parallel === 'boolean' && !hasTools)
  return {
    ...fields,
    ...(isIdle ? {} : { tool_choice: choice }),
    ...(isParallelIdle ? {} : { parallel_tool_calls: parallel }),
  }
}

function parseMessage(message: unknown, index: number): ChatMessage {
  const at = `messages[${index}]`
  if (!isRecord(message) || typeof message.role !== 'string') {
    throw invalidRequest(`'${at}' must be an object with a role`, at)
  }
  checkParts(message.content, `${at}.content`)
  return { ...message, role: message.role }
}

function checkTools(tools: unknown): void {
  if (tools === undefined) return
  if (!Array.isArray(tools)) throw invalidRequest("'tools' must be an array", 'tools')
  for (const [i, tool] of tools.entries()) {
    const isKnown = isRecord(tool) && (tool.type === 'function' || tool.type === 'custom') && isRecord(tool[tool.type])
    // Whatever else there is has the model's host carry it out.
    if (!isKnown) throw invalidRequest(`'tools[${i}]' must be a function that the client carries out`, `tools[${i}]`)
  }
}

/** A format that no server knows would be ignored by some. */
function checkFormat(format: unknown): void {
  if (format === undefined) return
  const type = isRecord(format) ? format.type : undefined
  if (type === 'text' || type === 'json_object') return
  const schema = isRecord(format) && isRecord(format.json_schema) ? format.json_schema.schema : undefined
  if (type === 'json_schema' && isRecord(schema)) return
  const message = "'response_format' must be text, json_object, or json_schema with a schema"
  throw invalidRequest(message, 'response_format')
}
