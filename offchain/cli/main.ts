#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
/**
 * The `sealpath` command. Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage.
 * @module
 */
import { type Command, UsageError } from './command.ts'
import { ROLE_NAMES } from './roleNames.ts'

/** Each is loaded when it is asked for: a role that runs holds nothing of the others in memory. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  chat: async () => (await import('./commands/chat.ts')).chat,
  proxy: async () => (await import('./commands/proxy.ts')).proxy,
  credits: async () => (await import('./commands/credits.ts')).credits,
  audit: async () => (await import('./commands/audit.ts')).audit,
  verify: async () => (await import('./commands/verify.ts')).verify,
  evidence: async () => (await import('./commands/evidence.ts')).evidence,
  measure: async () => (await import('./commands/measure.ts')).measure,
  status: async () => (await import('./commands/status.ts')).status,
  init: async () => (await import('./commands/init.ts')).init,
  doctor: async () => (await import('./commands/doctor.ts')).doctor,
  ...Object.fromEntries(
    ROLE_NAMES.map((name) => [name, async () => (await import('./commands/roles.ts')).roleCommand(name)]),
  ),
  keyset: async () => (await import('./commands/keyset.ts')).keyset,
  bond: async () => (await import('./commands/bond.ts')).bond,
  earnings: async () => (await import('./commands/earnings.ts')).earnings,
  deploy: async () => (await import('./commands/deploy.ts')).deploy,
  measurement: async () => (await import('./commands/measurement.ts')).measurement,
}

await run(process.argv.slice(2))

async function run([name, ...args]: string[]): Promise<void> {
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(await overview())
    return
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load === undefined) {
    process.stderr.write(`sealpath: there is no command ${name}\n\n${await overview()}`)
    process.exitCode = 2
    return
  }
  const command = await load()
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

async function overview(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()))
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`)
  return `Sealpath: private AI inference with receipts that settle on chain.\n\n${lines.join('\n')}\n\nsealpath COMMAND --help says more.\n`
}
