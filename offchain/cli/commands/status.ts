/** `sealpath status`: how a network is, part by part. @module */
import { toJson } from '#protocol/wire/json.ts'
import { addressOf, type Command, readArguments, UsageError, urlOf } from '../command.ts'
import { type Finding, probeAggregator, probeChain, probeRelay, probeRole } from '../statusProbes.ts'

export const status: Command = {
  name: 'status',
  summary: 'Say how a network is: chain, relays, aggregators, roles',
  usage: `usage: sealpath status [options]

  --rpc URL            JSON-RPC endpoint of the chain; several must agree   (SEALPATH_RPC)
  --registry ADDRESS   EnclaveRegistry                                      (SEALPATH_REGISTRY)
  --relay URL          a relay and the gateways behind it                   (SEALPATH_RELAY)
  --aggregator URL     an aggregator                                        (SEALPATH_AGGREGATOR)
  --role URL           any role: whether it calls itself ready
  --json               print the findings as JSON

Give as many as there are; what is not given is not asked. Exit code 0 only if all is well.`,
  async run(args) {
    const { values } = readArguments({
      args,
      options: {
        rpc: { type: 'string', multiple: true },
        registry: { type: 'string' },
        relay: { type: 'string', multiple: true },
        aggregator: { type: 'string', multiple: true },
        role: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
      },
    })
    const rpcUrls = urls(values.rpc, '--rpc', 'SEALPATH_RPC')
    const registry = values.registry ?? process.env.SEALPATH_REGISTRY
    if (rpcUrls.length > 0 && registry === undefined) throw new UsageError('give --registry with --rpc')
    const probes = [
      ...(rpcUrls.length === 0 ? [] : [probeChain(rpcUrls, addressOf(registry ?? '', '--registry'))]),
      ...urls(values.relay, '--relay', 'SEALPATH_RELAY').map(probeRelay),
      ...urls(values.aggregator, '--aggregator', 'SEALPATH_AGGREGATOR').map(probeAggregator),
      ...urls(values.role, '--role').map(probeRole),
    ]
    if (probes.length === 0) throw new UsageError('give something to ask')
    const findings = await Promise.all(probes)
    process.stdout.write(values.json ? `${toJson(findings, 2)}\n` : table(findings))
    return findings.every(({ isWell }) => isWell) ? 0 : 1
  },
}

function urls(given: readonly string[] | undefined, option: string, variable?: string): string[] {
  const known = variable === undefined ? undefined : process.env[variable]
  return (given ?? (known === undefined || known === '' ? [] : [known])).map((url) => urlOf(url, option))
}

function table(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ where }) => where.length))
  return findings
    .map(({ part, where, isWell, says }) => {
      // What others said must not move the cursor.
      const sentence = says.replaceAll(/\p{Cc}/gu, '?')
      return `${isWell ? 'ok ' : 'BAD'}  ${part.padEnd(10)}  ${where.padEnd(width)}  ${sentence}\n`
    })
    .join('')
}
