/** The words of a streamed answer, as they come. @module */

/** Calls `onText` with each piece of an OpenAI event stream. Rejects with what the body errors with: until it has ended, nothing is proven. */
export async function readAnswer(body: ReadableStream<Uint8Array>, onText: (text: string) => void): Promise<void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    rest += decoder.decode(next.value, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    const text = lines.map(textOf).join('')
    if (text !== '') onText(text)
  }
}

/** The text in one line of an event stream; none in the others. */
function textOf(line: string): string {
  if (!line.startsWith('data: {')) return ''
  try {
    const chunk = JSON.parse(line.slice('data: '.length)) as { choices?: { delta?: { content?: unknown } }[] }
    const content = chunk.choices?.[0]?.delta?.content
    return typeof content === 'string' ? content : ''
  } catch {
    // The receipt covers the exact bytes: what is no event is no text either.
    return ''
  }
}
