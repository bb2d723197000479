/** `sealpath deploy`: the contracts onto a chain, by Hardhat Ignition. @module */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { addressOf, type Command, readArguments, UsageError } from '../command.ts'

export const deploy: Command = {
  name: 'deploy',
  summary: 'Deploy the contracts to a network of hardhat.config.ts',
  usage: `usage: sealpath deploy --network NAME --protocol ADDRESS [options]

  --network NAME       a network of hardhat.config.ts
  --protocol ADDRESS   who draws the protocol's share
  --proposer ADDRESS   who proposes reference values to the timelock; the deployer on local chains
  --guardian ADDRESS   who revokes reference values and certificates at once; the deployer on local chains
  --token ADDRESS      OPG; left out on local chains only, where a test token is deployed
  --development-root FILE   accept evidence under this root instead of AWS's; local chains only
  --out FILE           where the deployment file goes (.sealpath/deployment.json)

Resumable: run it again after an interruption. Works in a checkout of the repository, where Hardhat is.`,
  async run(args) {
    const { values } = readArguments({
      args,
      options: {
        network: { type: 'string' },
        'development-root': { type: 'string' },
        protocol: { type: 'string' },
        token: { type: 'string' },
        proposer: { type: 'string' },
        guardian: { type: 'string' },
        out: { type: 'string' },
      },
    })
    if (values.network === undefined) throw new UsageError('give --network')
    if (values.protocol === undefined) throw new UsageError('give --protocol')
    addressOf(values.protocol, '--protocol')
    for (const name of ['token', 'proposer', 'guardian'] as const) {
      if (values[name] !== undefined) addressOf(values[name], `--${name}`)
    }
    const script = fileURLToPath(new URL('../../../scripts/deploy.ts', import.meta.url))
    if (!existsSync(script)) {
      throw new Error('deploying needs a checkout of the repository: clone it, run npm ci, and call this command there')
    }
    const { status } = spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' })
    return status ?? 1
  },
}
