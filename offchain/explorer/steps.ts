/** A check as a person sees it, and what many of them say together. @module */

/**
 * `open`: could not be decided now, as something has not happened yet or somebody did not answer. `skipped`: nothing to check, or not worth checking after
 * what failed before.
 */
export type StepState = 'passed' | 'failed' | 'open' | 'skipped'

export type Step = {
  /** Stable, for tests and links. */
  readonly name: string
  /** What is checked, as a person would ask it. */
  readonly title: string
  readonly state: StepState
  /** One sentence: what was found. */
  readonly says: string
}

export type Verdict = { readonly state: 'holds' | 'refused' | 'undecided'; readonly says: string }

export function passed(name: string, title: string, says: string): Step {
  return { name, title, state: 'passed', says }
}
export function failed(name: string, title: string, says: string): Step {
  return { name, title, state: 'failed', says }
}
export function open(name: string, title: string, says: string): Step {
  return { name, title, state: 'open', says }
}
export function skipped(name: string, title: string, says: string): Step {
  return { name, title, state: 'skipped', says }
}

/** All steps as one sentence about `subject`, with the steps that decided it named. */
export function verdictOf(subject: string, steps: readonly Step[]): Verdict {
  const titles = (state: StepState) => steps.filter((step) => step.state === state).map(({ title }) => `“${title}”`)
  const refusals = titles('failed')
  if (refusals.length > 0) return { state: 'refused', says: `${subject} does NOT hold: ${refusals.join(', ')} failed.` }
  const undecided = titles('open')
  if (undecided.length > 0) {
    return {
      state: 'undecided',
      says: `${subject} holds as far as it could be checked. Open: ${undecided.join(', ')}.`,
    }
  }
  const left = titles('skipped')
  if (left.length > 0) return { state: 'holds', says: `${subject} holds. Not in the file: ${left.join(', ')}.` }
  return { state: 'holds', says: `${subject} holds: every step passed.` }
}
