/** `sealpath doctor`: whether the world around a role is as it should be. @module */
import { type Command, readArguments, required, UsageError, urlOf } from '../command.ts'
import { examine } from '../doctor/examine.ts'
import { toLines } from '../doctor/finding.ts'
import { ROLE_NAMES } from '../doctor/subject.ts'

export const doctor: Command = {
  name: 'doctor',
  summary: 'Check a role: its configuration, machine, peers, chain and keys',
  usage: `usage: sealpath doctor --config FILE [options]

  --config FILE   the role's configuration                                   (SEALPATH_CONFIG)
  --role ROLE     ${ROLE_NAMES.join(', ')}; only where the file does not tell
  --rpc URL       JSON-RPC endpoint, to ask the chain for a role that has none of its own
  --json          print the findings as JSON

One line a thing: ok, warn or FAILED, what it is, what was found, what to do. Changes nothing, and may run beside the role; run it as the same user and
with the same environment. Exit code 0 only without FAILED.`,
  async run(args) {
    const { values } = readArguments({
      args,
      options: {
        config: { type: 'string' },
        role: { type: 'string' },
        rpc: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
      },
    })
    const path = required(values.config, '--config', 'SEALPATH_CONFIG')
    const role = ROLE_NAMES.find((name) => name === values.role)
    if (values.role !== undefined && role === undefined)
      throw new UsageError(`--role is one of ${ROLE_NAMES.join(', ')}`)
    const rpcUrls = values.rpc.map((url) => urlOf(url, '--rpc'))
    const findings = await examine(path, { role, rpcUrls, databaseUrl: process.env.DATABASE_URL })
    process.stdout.write(values.json ? `${JSON.stringify(findings, undefined, 2)}\n` : toLines(findings))
    return findings.some(({ state }) => state === 'FAILED') ? 1 : 0
  },
}
