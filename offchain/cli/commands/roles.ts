/** `sealpath gateway`, `operator`, `relay`, `issuer`, `aggregator`: starts a role from its configuration file. @module */
import { existsSync } from 'node:fs'
import { type Command, readArguments, required } from '../command.ts'

const ROLES = [
  {
    name: 'gateway',
    summary: 'Run a gateway: serve sealed inference',
    start: () => import('../../../gateway/main.ts'),
  },
  {
    name: 'operator',
    summary: "Run a gateway's operator agent on its host",
    start: () => import('../../operator/main.ts'),
  },
  { name: 'relay', summary: 'Run a relay: forward sealed bytes', start: () => import('../../relay/main.ts') },
  {
    name: 'issuer',
    summary: 'Run an issuer of credits',
    start: () => import('../../issuer/main.ts'),
  },
  {
    name: 'aggregator',
    summary: 'Run an aggregator: settle logs on chain',
    start: () => import('../../aggregator/main.ts'),
  },
] as const

export const roleCommands: readonly Command[] = ROLES.map(({ name, summary, start }) => ({
  name,
  summary,
  usage: `usage: sealpath ${name} --config FILE

  --config FILE   JSON configuration    (SEALPATH_CONFIG)

Runs until SIGINT or SIGTERM, then finishes what it has begun. Logs are JSON lines on standard error.`,
  async run(args) {
    const { values } = readArguments({ args, options: { config: { type: 'string' } } })
    const config = required(values.config, '--config', 'SEALPATH_CONFIG')
    if (!existsSync(config)) throw new Error(`there is no file ${config}`)
    process.env.SEALPATH_CONFIG = config
    await start()
    // The role goes on: its servers keep the process alive, and its signals end it.
    return 0
  },
}))
