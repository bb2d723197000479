/** A command of the CLI in this process, and what it said instead of showing it. @module */
import { vi } from 'vitest'

export type Ran = { readonly code: number; readonly said: string }

/** Throws what the command throws. */
export async function runCommand(
  command: { run(args: readonly string[]): Promise<number> },
  args: readonly string[],
): Promise<Ran> {
  let said = ''
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said += String(text)
    return true
  })
  try {
    return { code: await command.run(args), said }
  } finally {
    spy.mockRestore()
  }
}
