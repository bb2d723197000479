/** What the stand-in for a model server says: the same sentence, in whatever form it was asked for. @module */

export const WORDS: readonly string[] = [
  'Nothing',
  ' that',
  ' is',
  ' sealed',
  ' is',
  ' read',
  ' on',
  ' the',
  ' way',
  '.',
]
/** What it says where JSON is asked for. */
export const JSON_WORDS: readonly string[] = ['{"read":', 'false', '}']
export const EMBEDDING: readonly number[] = [0.5, -0.25, 0.125, 1]

type Body = Readonly<Record<string, unknown>>
type Choice = Record<string, unknown>

/** A piece of a stream. Words are what is counted. */
export type Chunk = { readonly choice: Choice; readonly isWord: boolean }
export type Answer = { readonly chunks: readonly Chunk[]; readonly whole: unknown }

/** Tool calls where there are tools, JSON where a format asks for it, else the sentence; as often as `n` says, and as long as `max_tokens` allows. */
export function answerChat(body: Body): Answer {
  const { tools, tool_choice: toolChoice, response_format: format } = body
  const calls = Array.isArray(tools) && tools.length > 0 && toolChoice !== 'none'
  const words = (format as { type?: string } | undefined)?.type?.startsWith('json') === true ? JSON_WORDS : WORDS
  const chunks = choicesOf(body).flatMap((index) => {
    const role = { choice: { index, delta: { role: 'assistant', content: null }, finish_reason: null }, isWord: false }
    const spoken = sentence(body, words)
    const said = calls ? toolCalls(index, tools, body) : spoken.words.map((word) => chatPiece(index, word, body))
    const reason = calls ? 'tool_calls' : spoken.reason
    return [role, ...said, { choice: { index, delta: {}, finish_reason: reason }, isWord: false }]
  })
  return { chunks, whole: { object: 'chat.completion', choices: [] } }
}

/** The sentence for every prompt, as often as `n` says, behind the prompt with `echo`; with `best_of` only as a whole. */
export function answerCompletion(body: Body): Answer {
  const { prompt, echo, suffix, logprobs } = body
  const prompts = Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt : [prompt]
  const n = choicesOf(body).length
  const spoken = sentence(body, WORDS)
  const pieces = prompts.flatMap((asked, i) =>
    choicesOf(body).flatMap((choice) => {
      const index = i * n + choice
      const words = [...(echo === true ? [String(asked)] : []), ...spoken.words, ...(suffix ? [`${suffix}`] : [])]
      const said = words.map((text): Chunk => {
        const tokens = typeof logprobs === 'number' ? { tokens: [text], token_logprobs: [-0.5] } : null
        return { choice: { index, text, logprobs: tokens, finish_reason: null }, isWord: true }
      })
      const end = { index, text: '', logprobs: null, finish_reason: spoken.reason }
      return [...said, { choice: end, isWord: false }]
    }),
  )
  const whole = Array.from({ length: prompts.length * n }, (_, index) => ({
    index,
    text: spoken.words.join(''),
    logprobs: null,
    finish_reason: spoken.reason,
  }))
  const tokens = prompts.length * Number(body.best_of ?? n) * spoken.words.length
  const usage = { prompt_tokens: 9, completion_tokens: tokens, total_tokens: 9 + tokens }
  return { chunks: pieces, whole: { object: 'text_completion', choices: whole, usage } }
}

/** The same vector for every input, last one first; a token for each character or number. */
export function answerEmbeddings({ input, dimensions }: Body): unknown {
  const inputs: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input]
  const embedding = EMBEDDING.slice(0, typeof dimensions === 'number' ? dimensions : EMBEDDING.length)
  const data = inputs.map((_, index) => ({ object: 'embedding', index, embedding })).reverse()
  const tokens = inputs.reduce((sum: number, text) => sum + (text as string | number[]).length, 0)
  return { object: 'list', model: 'upstream', data, usage: { prompt_tokens: tokens, total_tokens: tokens } }
}

function choicesOf({ n }: Body): number[] {
  return Array.from({ length: typeof n === 'number' ? n : 1 }, (_, i) => i)
}

/** The words up to the stop string or the bound. */
function sentence(
  body: Body,
  words: readonly string[],
): { readonly words: readonly string[]; readonly reason: string } {
  const { max_tokens: tokens, stop } = body
  const until = typeof stop === 'string' ? words.indexOf(stop) : -1
  const ended = until < 0 ? words : words.slice(0, until)
  const said = typeof tokens === 'number' ? ended.slice(0, tokens) : ended
  return { words: said, reason: said.length < ended.length ? 'length' : 'stop' }
}

function chatPiece(index: number, content: string, { logprobs, top_logprobs: top }: Body): Chunk {
  const entry = { token: content, logprob: -0.5, bytes: [...Buffer.from(content)], top_logprobs: [] as unknown[] }
  for (let i = 0; i < Number(top ?? 0); i++) entry.top_logprobs.push({ token: `${i}`, logprob: -1, bytes: null })
  const beside = logprobs === true ? { logprobs: { content: [entry], refusal: null } } : {}
  return { choice: { index, delta: { content }, ...beside, finish_reason: null }, isWord: true }
}

/** Every tool, or the one that was chosen, or the first where calls may not be parallel; the arguments in three fragments each. */
function toolCalls(
  index: number,
  tools: unknown[],
  { tool_choice: choice, parallel_tool_calls: parallel }: Body,
): Chunk[] {
  const names = tools.map((tool) => (tool as { function: { name: string } }).function.name)
  const chosen = (choice as { function?: { name: string } } | undefined)?.function?.name
  const called = chosen !== undefined ? [chosen] : parallel === false ? names.slice(0, 1) : names
  return called.flatMap((name, i) => {
    const begun = { index: i, id: `call_${i}`, type: 'function', function: { name, arguments: '' } }
    const fragments = ['{"city":', '"Lima"', '}'].map((text) => ({ index: i, function: { arguments: text } }))
    return [begun, ...fragments].map((call): Chunk => {
      return { choice: { index, delta: { tool_calls: [call] }, finish_reason: null }, isWord: true }
    })
  })
}
