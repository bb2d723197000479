/**
 * Loaded into a process before its own code (`--import`): every few seconds it collects what nobody holds any more, and writes down what is left. So
 * memory that grows is memory that is held, not memory that the engine has not come to yet.
 * @module
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const SAMPLE_MS = 5_000
const folder = process.env.SEALPATH_LIVE_MEMORY

if (folder !== undefined) {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const sample = (): void => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    writeFileSync(join(folder, String(process.pid)), String(heapUsed + external))
  }
  setInterval(sample, SAMPLE_MS).unref()
}
