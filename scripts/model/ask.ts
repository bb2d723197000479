/** Asks the shipped demo model: `node scripts/model/ask.ts 'What is Sealpath?' …`, each argument a conversation of its own. @module */
import { createEmbeddedBackend } from '../../gateway/backends/embedded/embeddedBackend.ts'
import { parseChatRequest } from '../../gateway/requests/chatRequest.ts'

const backend = createEmbeddedBackend({ claim: { source: 'operator' } })
const model = backend.models[0]?.name ?? ''
for (const question of process.argv.slice(2)) {
  const request = parseChatRequest({ model, messages: [{ role: 'user', content: question }] })
  const started = performance.now()
  process.stdout.write(`? ${question}\n  `)
  for await (const event of backend.chat(request, new AbortController().signal)) {
    if (event.kind === 'delta') process.stdout.write(event.content)
    if (event.kind !== 'usage') continue
    const perSecond = (event.promptTokens + event.completionTokens) / ((performance.now() - started) / 1000)
    process.stdout.write(
      `\n  [${event.promptTokens} + ${event.completionTokens} tokens, ${perSecond.toFixed(0)} a second]\n`,
    )
  }
}
