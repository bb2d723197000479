/**
 * docs/benchmarks.json and docs/benchmarks.md. The first is what was measured, one entry a row with the machine and the day; the second is written
 * from it. A part that is measured again replaces its own rows and leaves the others as they are. @module
 */
import { deviation, meetsTarget, type Row } from './row.ts'

export type Entry = Row & {
  /** The part of the benchmark that it belongs to. */
  readonly part: string
  /** What it was measured on, with what, and on which day. */
  readonly machine: string
  readonly day: string
}

/** Every number that has a target which was set before anything was built. */
export const REQUIRED_IDS: readonly string[] = [
  'gas.settle.10k',
  'gas.settle.1m',
  'gas.verify',
  'gas.register.warm',
  'gas.register.cold',
  'gas.p384',
  'gas.sha384',
  'gas.exit.open',
  'gas.exit.64',
  'log.verify',
  'log.ingest',
  'log.build.1m',
  'seal.open',
  'seal.request',
  'seal.event',
  'seal.e2e',
]

/** The entries after `parts` were measured (again), in the order of `order`. What no part measures any more is dropped. */
export function mergeEntries(
  before: readonly Entry[],
  parts: ReadonlyMap<string, readonly Row[]>,
  order: readonly string[],
  where: { readonly machine: string; readonly day: string },
): Entry[] {
  return order.flatMap((part) => {
    const rows = parts.get(part)
    if (rows === undefined) return before.filter((entry) => entry.part === part)
    return rows.map((row) => ({ ...row, part, ...where }))
  })
}

/** What is wrong with the entries as a whole: a number that is missing, a target or a calibration that is missed. */
export function findProblems(entries: readonly Entry[]): string[] {
  const ids = new Set(entries.map(({ id }) => id))
  const missing = REQUIRED_IDS.filter((id) => !ids.has(id)).map((id) => `${id} is missing`)
  return [...missing, ...entries.filter((entry) => !meetsTarget(entry)).map(describeMiss)]
}

export function toMarkdown(entries: readonly Entry[]): string {
  const models = entries.filter(({ calibration }) => calibration !== undefined)
  const own = entries.filter(({ calibration }) => calibration === undefined)
  return `# Benchmarks

Written by \`npm run bench\`, from [benchmarks.json](benchmarks.json). Medians of at least five runs after one that is not counted, with the least and
the most of them; ratios are taken within one run; memory and CPU are one figure of all runs. Gas is exact, and has a spread only where the work differs
from run to run: Hardhat's EVM under Osaka rules, solc 0.8.37, second settlement of the same enclaves. What stands in the column "others, same run" was measured with ours, on the same
machine: packages from npm, the plaintext path, and the models below. "Others, elsewhere" repeats figures measured from their own sources on a
local EVM, or their own words, for orientation. \`npm run bench -- log gas\` measures only these parts and replaces only their rows.

${machines(entries)}

| id | work | ours must reach | measured | least to most, runs | others, same run | others, elsewhere |
| --- | --- | --- | --- | --- | --- | --- |
${own.map(ownLine).join('\n')}
${models.length === 0 ? '' : modelSection(models)}`
}

export function targetText({ target, unit }: Row): string {
  return target === undefined ? '-' : `${target.direction} ${format(target.value)} ${unit}`
}

export function format(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}

function ownLine(row: Entry): string {
  const others = row.others?.map(({ name, value, unit }) => `${name} ${format(value)} ${unit}`).join('; ')
  const measured = `**${format(row.value)} ${row.unit}**${meetsTarget(row) ? '' : ' (missed)'}`
  return tableLine([
    `\`${row.id}\``,
    row.name,
    targetText(row),
    measured,
    spreadText(row),
    others ?? '-',
    row.published ?? '-',
  ])
}

function modelSection(models: readonly Entry[]): string {
  const lines = models.flatMap((row) => {
    if (row.calibration === undefined) return []
    const { figure, source } = row.calibration
    const off = `${(100 * deviation(row.value, row.calibration)).toFixed(1)} %${meetsTarget(row) ? '' : ' (missed)'}`
    return [tableLine([`\`${row.id}\``, row.name, `**${format(row.value)} ${row.unit}**`, format(figure), off, source])]
  })
  const tolerance = Math.round(100 * (models[0]?.calibration?.tolerance ?? 0))
  return `
## Models of others' settlement

\`scripts/bench/peers/models\` has small contracts that we wrote from the public specifications, interfaces and documentation of others: what they store,
check, log and move, and nothing else. They run on the EVM of our gas rows, compiled like our contracts. Each must cost what their own sources
cost, within ${tolerance} %, or the benchmark fails. They stand for the cost of a design, not for a product: where theirs does more (proxies, hooks, real
staking), theirs is dearer. There is none of Aligned: what its documents tell comes to two thirds of what its source costs.

| id | unit | model, this run | their source | off by | source |
| --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`
}

function spreadText({ runs }: Row): string {
  return runs === undefined ? '-' : `${format(runs.least)} to ${format(runs.most)}, ${runs.count}`
}

/** One line where everything was measured at once, else one for each machine and day. */
function machines(entries: readonly Entry[]): string {
  const groups = Map.groupBy(entries, ({ machine, day }) => `${day}, ${machine}`)
  if (groups.size === 1) return `Measured on ${[...groups.keys()].join()}.`
  const lines = [...groups].map(([where, rows]) => {
    const parts = [...new Set(rows.map(({ part }) => part))].join(', ')
    return `- ${parts}: on ${where}`
  })
  return `Measured:\n\n${lines.join('\n')}`
}

function describeMiss(row: Row): string {
  const measured = `${row.id} is ${format(row.value)} ${row.unit}`
  if (row.calibration === undefined) return `${measured}, and must be ${targetText(row)}`
  const { figure, tolerance } = row.calibration
  return `${measured}, and must lie within ${100 * tolerance} % of ${format(figure)}`
}

function tableLine(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
