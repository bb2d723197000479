/** `sealpath init`: asks for what a role needs, and writes its configuration. @module */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Command, readArguments, UsageError } from '../command.ts'
import { planAggregator } from '../init/aggregatorPlan.ts'
import { planGateway } from '../init/gatewayPlan.ts'
import { Interview } from '../init/interview.ts'
import { planIssuer } from '../init/issuerPlan.ts'
import { type Plan, plainHttpNotes } from '../init/plan.ts'
import { planRelay } from '../init/relayPlan.ts'

const ROLES: Readonly<Record<string, (interview: Interview, folder: string) => Promise<Plan>>> = {
  gateway: planGateway,
  relay: planRelay,
  issuer: planIssuer,
  aggregator: planAggregator,
}

export const init: Command = {
  name: 'init',
  summary: 'Ask for what a role needs, and write its configuration',
  usage: `usage: sealpath init gateway|relay|issuer|aggregator [options]

  --folder DIR      where the files go (default: a folder named like the role)
  --set KEY=VALUE   an answer given beforehand; a wrong answer on the terminal names its key
  --defaults        ask only for what has no usual answer

Asks in the terminal, or reads one answer a line from a pipe. A gateway and an issuer get the configuration of their operator agent as well, and an
account where there is none. Nothing is written before every answer is there, and no file that exists is written over.`,
  async run(args) {
    const { values, positionals } = readArguments({
      args,
      allowPositionals: true,
      options: {
        folder: { type: 'string' },
        set: { type: 'string', multiple: true, default: [] },
        defaults: { type: 'boolean', default: false },
      },
    })
    const [role, ...more] = positionals
    const plan = role === undefined ? undefined : ROLES[role]
    if (role === undefined || plan === undefined || more.length > 0) {
      throw new UsageError(`name one role: ${Object.keys(ROLES).join(', ')}`)
    }
    const folder = resolve(values.folder ?? role)
    const interview = new Interview(readGiven(values.set), values.defaults)
    try {
      const planned = await plan(interview, folder)
      interview.requireAllUsed()
      write(planned)
      return 0
    } finally {
      interview.close()
    }
  },
}

function readGiven(pairs: readonly string[]): Map<string, string> {
  return new Map(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw new UsageError(`--set takes KEY=VALUE, not ${pair}`)
      return [pair.slice(0, at), pair.slice(at + 1).trim()] as const
    }),
  )
}

/** Throws a sentence, and writes nothing, if one of the files is there already. */
function write({ files, notes }: Plan): void {
  const there = files.find(({ path }) => existsSync(path))
  if (there !== undefined) throw new Error(`${there.path} is there already: move it away, or choose another --folder`)
  for (const { path, text, isSecret } of files) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text, { flag: 'wx', mode: isSecret ? 0o600 : 0o644 })
    process.stdout.write(`wrote ${path}\n`)
  }
  const plain = files
    .filter(({ isSecret }) => isSecret !== true)
    .flatMap(({ text }) => plainHttpNotes(JSON.parse(text)))
  for (const note of new Set([...plain, ...notes])) process.stdout.write(`${note}\n`)
}
