/** docs/runbooks.md names only what there is: commands with their options, functions of the contracts, files. @module */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import * as abis from '#chain/generated/abis.ts'
import { bond } from '../../offchain/cli/commands/bond.ts'
import { credits } from '../../offchain/cli/commands/credits.ts'
import { deploy } from '../../offchain/cli/commands/deploy.ts'
import { earnings } from '../../offchain/cli/commands/earnings.ts'
import { measurement } from '../../offchain/cli/commands/measurement.ts'
import { status } from '../../offchain/cli/commands/status.ts'

const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url))
const RUNBOOKS = readFileSync(join(DOCS, 'runbooks.md'), 'utf8')
const COMMANDS = [bond, credits, deploy, earnings, measurement, status]
/** Words in code type that are no functions: fields, files, events, settings, a program. */
const OTHER_WORDS =
  /^(SEALPATH_\w+|sealpath|exitUntil|accountKeyFiles|EvidenceAccepted|CallScheduled|abis\/|\S+\.(json|ts|md))$/
/** Safe's own. */
const SAFE_FUNCTIONS = ['swapOwner']

const inCode = [...RUNBOOKS.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text.replaceAll('\n', ' '))

it('names commands with options that they have', () => {
  const commands = inCode.filter((text) => text.startsWith('sealpath '))
  expect(commands.length).toBeGreaterThan(15)
  for (const text of commands) {
    const [, name, ...rest] = text.split(/\s+/)
    const command = COMMANDS.find((candidate) => candidate.name === name)
    expect(command, text).toBeDefined()
    const usage = command?.usage ?? ''
    const [action = ''] = rest
    if (/^[a-z]+$/.test(action)) expect(usage, text).toContain(`sealpath ${name} ${action}`)
    for (const option of rest.filter((word) => word.startsWith('--'))) expect(usage, text).toContain(option)
  }
})

it('names functions that our contracts, the timelock or a Safe have', () => {
  const functions = new Set<string>(SAFE_FUNCTIONS)
  for (const entry of Object.values(abis).flat()) if (entry.type === 'function') functions.add(entry.name)
  const named = inCode.flatMap((text) => /^([a-z]\w+)(?:\(.*\))?$/i.exec(text)?.[1] ?? [])
  const calls = named.filter((name) => !OTHER_WORDS.test(name) && !COMMANDS.some((command) => command.name === name))
  expect(calls.length).toBeGreaterThan(15)
  for (const name of calls) expect(functions, name).toContain(name)
})

it('links to documents that are there', () => {
  for (const [, target = ''] of RUNBOOKS.matchAll(/\]\(([^)#]+)\)/g))
    expect(existsSync(join(DOCS, target)), target).toBe(true)
})
