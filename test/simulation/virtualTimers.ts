/**
 * Timers for the code under simulation: what it asks of `setTimeout` and `setInterval` happens on the virtual clock of the process it runs in, and
 * never happens once that process is dead. Code outside of a simulated process keeps the real ones.
 * @module
 */
import { AsyncLocalStorage } from 'node:async_hooks'

/** What a process has of time. `wait` calls back after `ms`, later while the process stands still, and never once it is dead. */
export type ProcessTime = { wait(ms: number, run: () => void): void }

type Timer = { isCleared: boolean }

const current = new AsyncLocalStorage<ProcessTime>()
const real = { setTimeout, clearTimeout, setInterval, clearInterval }

/** Runs `work`, and all that follows from it, as part of a process. */
export function runInProcess<T>(time: ProcessTime, work: () => T): T {
  return current.run(time, work)
}

/** Replaces the timers until the function that it answers is called. */
export function installVirtualTimers(): () => void {
  const start = (ms: number, run: () => void, isRepeated: boolean): Timer | undefined => {
    const time = current.getStore()
    if (time === undefined) return undefined
    const timer: Timer = { isCleared: false }
    const wait = () =>
      time.wait(ms, () => {
        if (timer.isCleared) return
        if (isRepeated) wait()
        run()
      })
    wait()
    return timer
  }
  const stop = (timer: unknown, stopReal: (timer: undefined) => void) => {
    if (typeof timer === 'object' && timer !== null && 'isCleared' in timer) timer.isCleared = true
    else stopReal(timer as undefined)
  }
  Object.assign(globalThis, {
    setTimeout: (run: () => void, ms = 0, ...args: []) => start(ms, run, false) ?? real.setTimeout(run, ms, ...args),
    setInterval: (run: () => void, ms = 0, ...args: []) => start(ms, run, true) ?? real.setInterval(run, ms, ...args),
    clearTimeout: (timer: unknown) => stop(timer, real.clearTimeout),
    clearInterval: (timer: unknown) => stop(timer, real.clearInterval),
  })
  return () => {
    Object.assign(globalThis, real)
  }
}
