/** Whether a process runs on this machine: a lock or a pid file outlives whoever wrote it. @module */

/** A process of somebody else, which cannot be signalled, is alive too. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
