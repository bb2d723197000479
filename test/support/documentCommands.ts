/** The commands of a document, for tests that do what it says line by line. @module */

/** A command as it stands in a fenced `sh` block, its continued lines joined. */
export type DocumentCommand = { readonly line: number; readonly text: string }

/** All of them, in order, without comments. */
export function readCommands(markdown: string): readonly DocumentCommand[] {
  const commands: DocumentCommand[] = []
  let isInside = false
  let begun: DocumentCommand | undefined
  for (const [index, raw] of markdown.split('\n').entries()) {
    const fence = /^```(\w*)/.exec(raw)
    if (fence !== null) {
      isInside = !isInside && fence[1] === 'sh'
      continue
    }
    const text = raw.trim()
    if (!isInside || text === '' || text.startsWith('#')) continue
    const joined = { line: begun?.line ?? index + 1, text: `${begun?.text ?? ''}${text.replace(/\\$/, '')}` }
    begun = text.endsWith('\\') ? joined : undefined
    if (begun === undefined) commands.push(joined)
  }
  return commands
}
