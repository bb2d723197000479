/** `sealpath gateway`, `operator`, `relay`, `issuer`, `aggregator`: starts a role from its configuration file. @module */
import { existsSync } from 'node:fs'
import { type Command, readArguments, required } from '../command.ts'
import type { RoleName } from '../roleNames.ts'

type Role = { readonly summary: string; readonly start: () => Promise<unknown> }

const ROLES: Readonly<Record<RoleName, Role>> = {
  gateway: { summary: 'Run a gateway: serve sealed inference', start: () => import('../../../gateway/main.ts') },
  operator: {
    summary: "Run a gateway's operator agent on its host",
    start: () => import('../../operator/main.ts'),
  },
  relay: { summary: 'Run a relay: forward sealed bytes', start: () => import('../../relay/main.ts') },
  issuer: { summary: 'Run an issuer of credits', start: () => import('../../issuer/main.ts') },
  aggregator: { summary: 'Run an aggregator: settle logs on chain', start: () => import('../../aggregator/main.ts') },
}

export const roleCommand = (name: RoleName): Command => ({
  name,
  summary: ROLES[name].summary,
  usage: `usage: sealpath ${name} --config FILE

  --config FILE   JSON configuration    (SEALPATH_CONFIG)

Runs until SIGINT or SIGTERM, then finishes what it has begun. Logs are JSON lines on standard error.`,
  async run(args) {
    const { values } = readArguments({ args, options: { config: { type: 'string' } } })
    const config = required(values.config, '--config', 'SEALPATH_CONFIG')
    if (!existsSync(config)) throw new Error(`there is no file ${config}`)
    process.env.SEALPATH_CONFIG = config
    await ROLES[name].start()
    // The role goes on: its servers keep the process alive, and its signals end it.
    return 0
  },
})
