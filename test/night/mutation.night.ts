/** Changes that a test must notice: a small sample of what `node scripts/mutation/main.ts` tries, of today's sources. @module */
import { fileURLToPath } from 'node:url'
import * as v from 'valibot'
import { beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../../scripts/mutation/command.ts'

const SCORE_MIN = 80
const SAMPLES = { contracts: 20, typescript: 60 } as const
/** Another than that of docs/mutation.md. */
const SEED = 'night 1'
const TIMEOUT_MS = 3_500_000
const root = fileURLToPath(new URL('../../', import.meta.url))

const PartSchema = v.object({
  tried: v.number(),
  static: v.number(),
  score: v.number(),
  survivors: v.array(v.object({ key: v.string(), why: v.optional(v.string()) })),
})
const ReportSchema = v.object({ contracts: PartSchema, typescript: PartSchema })

beforeAll(async () => {
  const { status, output } = await run('npm', ['run', 'build:contract-tests'])
  if (status !== 0) throw new Error(`expected contracts that compile, got ${output}`)
}, TIMEOUT_MS)

describe.each(['contracts', 'typescript'] as const)('a seeded sample of mutants of %s', (part) => {
  it('is noticed by the tests in at least 80 of 100 cases', async () => {
    const sample = SAMPLES[part]
    const args = [
      'scripts/mutation/main.ts',
      '--fresh',
      '--print',
      '--only',
      part,
      '--seed',
      SEED,
      '--sample',
      `${sample}`,
    ]
    const { status, output } = await run(process.execPath, args)
    expect(status, output).toBe(0)
    const report = v.parse(ReportSchema, JSON.parse(output.slice(output.indexOf('\n{\n') + 1)))[part]
    console.info(
      `${report.score} % of ${report.tried}, survived:\n${report.survivors.map(({ key }) => key).join('\n')}`,
    )
    expect(report.tried + report.static).toBe(sample)
    expect(report.score).toBeGreaterThanOrEqual(SCORE_MIN)
  })
})

function run(command: string, args: readonly string[]): ReturnType<typeof runCommand> {
  const env = { NODE_OPTIONS: '--disable-warning=ExperimentalWarning' }
  return runCommand(command, args, { folder: root, timeoutMs: TIMEOUT_MS, env })
}
