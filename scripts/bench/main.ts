/** `npm run bench`: measures, and writes docs/benchmarks.json and docs/benchmarks.md. `npm run bench -- log relay` measures only these and writes neither. @module */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { measureCredits } from './credits.ts'
import { measureCreditsClient } from './creditsClient.ts'
import { measureEndToEnd } from './e2e.ts'
import { measureGas } from './gas.ts'
import { measureGrowth } from './growth.ts'
import { measureIngest } from './ingest.ts'
import { measureLog } from './log.ts'
import { measureProofs } from './proofs.ts'
import { measureRelay } from './relay.ts'
import { meetsTarget, type Row } from './row.ts'
import { measureSealing } from './sealing.ts'

const root = new URL('../../', import.meta.url)

const MEASURES: Readonly<Record<string, () => Promise<readonly Row[]>>> = {
  // First, as it is measured in this process: whatever ran before would have left its marks on how the code is compiled.
  sealing: measureSealing,
  gas: measureGas,
  log: measureLog,
  ingest: measureIngest,
  proofs: measureProofs,
  e2e: measureEndToEnd,
  relay: measureRelay,
  credits: measureCredits,
  creditsClient: measureCreditsClient,
}

/** Measured only when named: they take long, and write documents of their own. */
const LONG_MEASURES: Readonly<Record<string, () => Promise<readonly Row[]>>> = { growth: measureGrowth }
const ALL_MEASURES = { ...MEASURES, ...LONG_MEASURES }

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in ALL_MEASURES))
if (unknown.length > 0) {
  process.stderr.write(`no such measure: ${unknown.join(', ')}. There are: ${Object.keys(ALL_MEASURES).join(', ')}\n`)
  process.exit(1)
}
const rows: Row[] = []
for (const [name, measure] of Object.entries(ALL_MEASURES)) {
  if (wanted.length === 0 ? name in MEASURES : wanted.includes(name)) rows.push(...(await measure()))
}
if (wanted.length === 0) {
  const machine = describeMachine()
  writeFileSync(new URL('docs/benchmarks.json', root), `${JSON.stringify(toEntries(rows, machine), null, 2)}\n`)
  writeFileSync(new URL('docs/benchmarks.md', root), toMarkdown(rows, machine))
}
for (const row of rows) {
  process.stdout.write(`${row.id.padEnd(24)}${format(row.value).padStart(12)} ${row.unit.padEnd(5)}${verdict(row)}\n`)
}
process.exit(0)

function toEntries(all: readonly Row[], where: string): unknown {
  return all.map(({ id, name, value, unit, target, peer }) => ({
    id,
    name,
    value,
    unit,
    target: target ?? null,
    peer: peer ?? null,
    machine: where,
  }))
}

function toMarkdown(all: readonly Row[], where: string): string {
  const lines = all.map(
    (row) =>
      `| \`${row.id}\` | ${row.name} | ${row.peer ?? '-'} | ${targetText(row)} | **${format(row.value)} ${row.unit}** ${meetsTarget(row) ? '' : '(missed)'} |`,
  )
  return `# Benchmarks

Written by \`npm run bench\`. Medians of at least five runs after one that is not counted; ratios are taken within one run. Gas is exact: Hardhat's
EVM under Osaka rules, solc 0.8.37, second settlement of the same enclaves. What others need was measured on one local EVM or read in their
own documents, and is repeated here for orientation.

Machine: ${where}.

| id | work | others | ours must reach | measured |
| --- | --- | --- | --- | --- |
${lines.join('\n')}
`
}

function describeMachine(): string {
  const [cpu] = cpus()
  const versions = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  const { hardhat, solc } = versions.devDependencies
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${memory} GiB, Node ${process.versions.node}, hardhat ${hardhat}, solc ${solc}`
}

function verdict(row: Row): string {
  if (row.target === undefined) return ''
  return `${meetsTarget(row) ? 'ok    ' : 'MISSED'}  ${targetText(row)}`
}

function targetText({ target, unit }: Row): string {
  return target === undefined ? '-' : `${target.direction} ${format(target.value)} ${unit}`
}

function format(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}
