/** The real relay in a process that answers every message with what it uses. @module */
import '../../offchain/relay/main.ts'

export type RelayUsage = { readonly cpuMicros: number; readonly rssBytes: number }

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpuMicros: user + system, rssBytes: process.memoryUsage.rss() } satisfies RelayUsage)
})
