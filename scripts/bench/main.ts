/** `npm run bench`: measures, and writes docs/benchmarks.json and docs/benchmarks.md. @module */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { measureCredits } from './credits.ts'
import { measureCreditsClient } from './creditsClient.ts'
import { measureEndToEnd } from './e2e.ts'
import { measureGas } from './gas.ts'
import { measureIngest } from './ingest.ts'
import { measureLog } from './log.ts'
import { measureProofs } from './proofs.ts'
import { measureRelay } from './relay.ts'
import { meetsTarget, type Row } from './row.ts'
import { measureSealing } from './sealing.ts'

const root = new URL('../../', import.meta.url)

const rows = [
  ...(await measureGas()),
  ...(await measureLog()),
  ...(await measureIngest()),
  ...(await measureProofs()),
  ...(await measureSealing()),
  ...(await measureEndToEnd()),
  ...(await measureRelay()),
  ...(await measureCredits()),
  ...(await measureCreditsClient()),
]
const machine = describeMachine()
writeFileSync(new URL('docs/benchmarks.json', root), `${JSON.stringify(toEntries(rows, machine), null, 2)}\n`)
writeFileSync(new URL('docs/benchmarks.md', root), toMarkdown(rows, machine))
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
