#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
/**
 * The `sealpath` command. Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage.
 * @module
 */
import { type Command, UsageError } from './command.ts'
import { bond } from './commands/bond.ts'
import { chat } from './commands/chat.ts'
import { credits } from './commands/credits.ts'
import { deploy } from './commands/deploy.ts'
import { doctor } from './commands/doctor.ts'
import { earnings } from './commands/earnings.ts'
import { evidence } from './commands/evidence.ts'
import { init } from './commands/init.ts'
import { keyset } from './commands/keyset.ts'
import { measure } from './commands/measure.ts'
import { measurement } from './commands/measurement.ts'
import { proxy } from './commands/proxy.ts'
import { roleCommands } from './commands/roles.ts'
import { status } from './commands/status.ts'
import { verify } from './commands/verify.ts'

const COMMANDS: readonly Command[] = [
  chat,
  proxy,
  credits,
  verify,
  evidence,
  measure,
  status,
  init,
  doctor,
  ...roleCommands,
  keyset,
  bond,
  earnings,
  deploy,
  measurement,
]

await run(process.argv.slice(2))

async function run([name, ...args]: string[]): Promise<void> {
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(overview())
    return
  }
  const command = COMMANDS.find((candidate) => candidate.name === name)
  if (command === undefined) {
    process.stderr.write(`sealpath: there is no command ${name}\n\n${overview()}`)
    process.exitCode = 2
    return
  }
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(`${command.summary}\n\n${command.usage}\n`)
    return
  }
  try {
    process.exitCode = await command.run(args)
  } catch (error) {
    const sentence = error instanceof Error ? error.message : 'unknown failure'
    process.stderr.write(`sealpath ${name}: ${sentence}\n`)
    if (error instanceof UsageError) process.stderr.write(`\n${command.usage}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 2
  const lines = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`)
  return `Sealpath: private AI inference with receipts that settle on chain.\n\n${lines.join('\n')}\n\nsealpath COMMAND --help says more.\n`
}
