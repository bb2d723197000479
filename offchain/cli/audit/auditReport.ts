/** An audit's result for people: one line for each discrepancy, and a last one that says what was checked. @module */
import type { Discrepancy, Place } from '#chain/audit/discrepancy.ts'
import type { AuditProgress, AuditReport } from './runAudit.ts'

export function auditLines(report: AuditReport): string {
  const { discrepancies, discrepancyCount, counts, block, resumedAfter } = report
  const lines = discrepancies.map(lineOf)
  const untold = discrepancyCount - discrepancies.length
  if (untold > 0) lines.push(`and ${untold} more`)
  const { batches, heads, leaves, events } = counts
  const scope = `${heads} heads in ${batches} batches, ${leaves} leaves, ${report.enclaves} enclaves, ${report.keysets} keysets, ${events} events up to block ${block}`
  const before = resumedAfter === undefined ? '' : `, up to block ${resumedAfter} by an audit before`
  const verdict = ['No discrepancy.', '1 discrepancy.'][discrepancyCount] ?? `${discrepancyCount} discrepancies.`
  return `${lines.join('\n')}${lines.length > 0 ? '\n\n' : ''}${verdict} Checked: ${scope}${before}.\n`
}

function lineOf({ kind, what, where, expected, found }: Discrepancy): string {
  const place = placeOf(where)
  // What others said must not move the cursor.
  return `${kind.padEnd(9)}  ${what}${place}: expected ${expected}, found ${found}`.replaceAll(/\p{Cc}/gu, '?')
}

function placeOf(where: Place): string {
  const parts = Object.entries(where).map(([name, value]) => `${name} ${value}`)
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`
}

const BAR_WIDTH = 24
const REDRAW_MS = 200

/** Draws how far an audit is on standard error, if that is a terminal. `clear` wipes the line. */
export function drawProgress(): { readonly onProgress: (progress: AuditProgress) => void; clear(): void } {
  if (!process.stderr.isTTY) return { onProgress: () => {}, clear: () => {} }
  let drawn = 0
  return {
    onProgress(progress) {
      if (performance.now() - drawn < REDRAW_MS) return
      drawn = performance.now()
      process.stderr.write(`\r\x1b[K${progressBar(progress)}`)
    },
    clear: () => process.stderr.write('\r\x1b[K'),
  }
}

export function progressBar({ first, block, last, heads, leaves }: AuditProgress): string {
  const done = last < first ? 1 : Number(block - first + 1n) / Number(last - first + 1n)
  const full = Math.round(done * BAR_WIDTH)
  const bar = `${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}`
  return `[${bar}] ${Math.floor(done * 100)} %  block ${block}  ${heads} heads  ${leaves} leaves `
}
