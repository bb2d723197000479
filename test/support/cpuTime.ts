/** What work costs this thread, whatever else the machine does meanwhile. @module */

/** Milliseconds of CPU that the thread spent on `work`, waiting not counted. */
export async function cpuMs(work: () => unknown): Promise<number> {
  const begun = process.threadCpuUsage()
  await work()
  const { user, system } = process.threadCpuUsage(begun)
  return (user + system) / 1000
}
