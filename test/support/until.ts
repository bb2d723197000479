/** Waiting for what a test expects. @module */
import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for a fact, never for a time: what does not come ends the test by its time limit. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(1)
}
