/** `sealpath audit`: whether everything that settled is as it should be, checked from events and leaves alone. @module */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { createPublicClient, http, type PublicClient } from 'viem'
import type { Deployment } from '#chain/deployment.ts'
import { openVault, type VaultAccess } from '#chain/vault.ts'
import { toJson } from '#protocol/wire/json.ts'
import { auditLines, drawProgress } from '../audit/auditReport.ts'
import { AuditStateError, openStateFile } from '../audit/auditState.ts'
import { openLeafSource } from '../audit/leafSource.ts'
import { runAudit } from '../audit/runAudit.ts'
import { addressOf, type Command, readArguments, required, UsageError, urlOf } from '../command.ts'
import { readDeploymentFile } from '../deployedNetwork.ts'

export const audit: Command = {
  name: 'audit',
  summary: 'Recompute everything that settled: logs, batches, money',
  usage: `usage: sealpath audit --rpc URL --deployment FILE --aggregator URL [options]

  --rpc URL            JSON-RPC endpoint of the chain                      (SEALPATH_RPC)
  --deployment FILE    where the contracts are: what sealpath deploy wrote (SEALPATH_DEPLOYMENT)
  --registry ADDRESS   the registry, instead of a deployment file; the others are found from it
  --from-block NUMBER  with --registry: the block it was deployed in, or any before; 0 unless told
  --aggregator URL     serves leaves; give several, each is asked for what those before it lack (SEALPATH_AGGREGATOR)
  --state FILE         keeps what is final and was found right, so that the next audit goes on from there
  --json               print the result as JSON

Believes nobody: replays the events of registry, settlement and vault, recomputes every log from its leaves, every batch root and all money, and compares. One
line a discrepancy. Exit code 0 only without one, 1 with one or a failure, 2 for wrong usage. What each line means: docs/audit.md`,
  async run(args) {
    const { values } = readArguments({
      args,
      options: {
        rpc: { type: 'string' },
        deployment: { type: 'string' },
        registry: { type: 'string' },
        'from-block': { type: 'string' },
        aggregator: { type: 'string', multiple: true },
        state: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const rpcUrl = urlOf(required(values.rpc, '--rpc', 'SEALPATH_RPC'), '--rpc')
    const contracts = contractsOf(values)
    const aggregators = values.aggregator ?? [required(undefined, '--aggregator', 'SEALPATH_AGGREGATOR')]
    const sources = aggregators.map((url) => openLeafSource(urlOf(url, '--aggregator')))
    const state = values.state === undefined ? undefined : openStateFile(values.state)
    if (values.state !== undefined && !existsSync(dirname(values.state))) {
      throw new UsageError(`the folder of --state ${values.state} does not exist`)
    }
    const { onProgress, clear } = drawProgress()
    const onNotice = (sentence: string) => {
      clear()
      process.stderr.write(`sealpath audit: ${sentence}\n`)
    }
    try {
      const access = await openContracts(rpcUrl, contracts)
      const report = await runAudit({ access, sources, state, onNotice, onProgress })
      clear()
      process.stdout.write(values.json ? `${toJson(report, 2)}\n` : auditLines(report))
      return report.discrepancyCount === 0 ? 0 : 1
    } catch (error) {
      clear()
      if (error instanceof AuditStateError) throw new UsageError(error.message, { cause: error })
      throw error
    }
  },
}

type Contracts = Pick<Deployment, 'registry' | 'fromBlock'> & { readonly deployment?: Deployment }

type ContractValues = {
  readonly deployment?: string | undefined
  readonly registry?: string | undefined
  readonly 'from-block'?: string | undefined
}

function contractsOf(values: ContractValues): Contracts {
  const fromBlock = values['from-block'] ?? '0'
  if (!/^[0-9]{1,18}$/.test(fromBlock)) throw new UsageError('--from-block is the number of a block')
  if (values.registry !== undefined) {
    if (values.deployment !== undefined) throw new UsageError('give --deployment or --registry, not both')
    return { registry: addressOf(values.registry, '--registry'), fromBlock: BigInt(fromBlock) }
  }
  if (values['from-block'] !== undefined) throw new UsageError('--from-block goes with --registry')
  const deployment = readDeploymentFile(required(values.deployment, '--deployment', 'SEALPATH_DEPLOYMENT'))
  return { registry: deployment.registry, fromBlock: deployment.fromBlock, deployment }
}

/** Finds the contracts from the registry. Throws an error when the deployment file says something else. */
async function openContracts(rpcUrl: string, { registry, fromBlock, deployment }: Contracts): Promise<VaultAccess> {
  const client = createPublicClient({ transport: http(rpcUrl), cacheTime: 0 }) as PublicClient
  const access = await openVault(client, registry, { fromBlock })
  if (deployment === undefined) return access
  for (const name of ['chainId', 'settlement', 'vault', 'token'] as const) {
    if (access[name] === deployment[name]) continue
    throw new Error(`the deployment file says ${name} ${deployment[name]}, and the chain says ${access[name]}`)
  }
  return access
}
