/** What a deployer says on the command line. Secrets are not among it: keys and endpoints come from Hardhat's keystore or the environment. @module */
import { parseArgs } from 'node:util'
import { isAddress } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { DeployError } from './deployError.ts'

export type DeployOptions = {
  /** A network of hardhat.config.ts. */
  readonly network: string
  /** Where the deployment file goes; what else is exported goes beside it. */
  readonly out: string
  /** Tells deployments on one chain apart. Without it there is one for each chain. */
  readonly id?: string
  /** OPG's address. Known on Base; on local chains a test token is deployed without it. */
  readonly token?: Hex
  /** Deploy TestOPG, which anyone may mint, on a test network. */
  readonly isTestToken: boolean
  /** A development root (as gateways keep it) instead of AWS's, on local chains only. */
  readonly developmentRoot?: string
  /** Who draws the protocol's share. */
  readonly protocol: Hex
  /** Who proposes reference values to the timelock: a multisig. The deployer on local chains unless told. */
  readonly proposer?: Hex
  /** Who revokes reference values and certificates at once: another multisig. The deployer on local chains unless told. */
  readonly guardian?: Hex
}

/** Throws `DeployError`. */
export function readDeployOptions(args: readonly string[]): DeployOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      network: { type: 'string', default: 'localhost' },
      out: { type: 'string', default: '.sealpath/deployment.json' },
      id: { type: 'string' },
      token: { type: 'string' },
      'test-token': { type: 'boolean', default: false },
      'development-root': { type: 'string' },
      protocol: { type: 'string' },
      proposer: { type: 'string' },
      guardian: { type: 'string' },
    },
  })
  const { id, 'development-root': developmentRoot } = values
  const protocol = readAddress(values.protocol, 'protocol')
  if (protocol === undefined) throw new DeployError("give the account that draws the protocol's share with --protocol")
  if (id !== undefined && !/^[a-z0-9-]{1,32}$/.test(id)) {
    throw new DeployError('--id is up to 32 small letters, digits and dashes')
  }
  const token = readAddress(values.token, 'token')
  if (token !== undefined && values['test-token']) throw new DeployError('give --token or --test-token, not both')
  const proposer = readAddress(values.proposer, 'proposer')
  const guardian = readAddress(values.guardian, 'guardian')
  return {
    network: values.network,
    out: values.out,
    protocol,
    isTestToken: values['test-token'],
    ...(id === undefined ? {} : { id }),
    ...(token === undefined ? {} : { token }),
    ...(developmentRoot === undefined ? {} : { developmentRoot }),
    ...(proposer === undefined ? {} : { proposer }),
    ...(guardian === undefined ? {} : { guardian }),
  }
}

/** An address that somebody can have; with a checksum in it, the right one. */
function readAddress(text: string | undefined, name: string): Hex | undefined {
  if (text === undefined) return undefined
  // Addresses without capital letters carry no checksum.
  if (!isAddress(text, { strict: text !== text.toLowerCase() })) {
    throw new DeployError(`--${name} must be an address, 0x and 40 hex digits with the right checksum, and is ${text}`)
  }
  if (/^0x0+$/.test(text)) throw new DeployError(`--${name} must be somebody: the zero address is nobody's`)
  return text
}
