/** What `sealpath doctor` finds: one line for each thing that it looked at. @module */

export type Finding = {
  readonly state: 'ok' | 'warn' | 'FAILED'
  /** What was looked at, like `port of listen`. */
  readonly what: string
  readonly found: string
  /** What to do; always there unless all is well. */
  readonly remedy?: string
}

export function ok(what: string, found: string): Finding {
  return { state: 'ok', what, found }
}

export function warn(what: string, found: string, remedy: string): Finding {
  return { state: 'warn', what, found, remedy }
}

export function failed(what: string, found: string, remedy: string): Finding {
  return { state: 'FAILED', what, found, remedy }
}

/** Runs a check that may not come to an end: why not is a finding as well. */
export async function guarded(
  what: string,
  remedy: string,
  check: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await check()
  } catch (error) {
    return [failed(what, firstLine(error), remedy)]
  }
}

export function toLines(findings: readonly Finding[]): string {
  return findings
    .map(({ state, what, found, remedy }) => {
      const sentence = remedy === undefined ? `${what}: ${found}` : `${what}: ${found}; ${remedy}`
      // What others said must not move the cursor.
      return `${state.padEnd(6)}  ${sentence.replaceAll(/\p{Cc}/gu, '?')}\n`
    })
    .join('')
}

export function firstLine(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'unknown failure'
}

/** 172800 as "2 days", roughly. */
export function duration(seconds: number): string {
  const units = [
    [86_400, 'day'],
    [3_600, 'hour'],
    [60, 'minute'],
    [1, 'second'],
  ] as const
  const [size, name] = units.find(([unit]) => Math.abs(seconds) >= 2 * unit) ?? [1, 'second']
  const count = Math.round(Math.abs(seconds) / size)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}
