/** Where the explorer reads from: `explorer.json` beside the page, and what the address's fragment says instead. @module */
import * as v from 'valibot'
import type { Deployment } from '#chain/deployment.ts'
import { address, parseJson, parseShape, type Schema, uintOf, WireError } from '#protocol/wire/json.ts'

/** What the explorer needs of a deployment file; more may stand there. */
export type ExplorerDeployment = Pick<Deployment, 'chainId' | 'registry' | 'settlement' | 'verifier' | 'fromBlock'>

export type ExplorerConfig = {
  readonly rpcUrl: string
  readonly deployment: ExplorerDeployment
  readonly aggregatorUrl: string
  /** Evidence is fetched through it; without one, evidence is not shown. */
  readonly relayUrl?: string
}

/** Names in the fragment, each beside what it replaces. */
export const OVERRIDES = {
  rpc: 'rpcUrl',
  aggregator: 'aggregatorUrl',
  relay: 'relayUrl',
  deployment: 'deployment',
} as const
export type OverrideName = keyof typeof OVERRIDES

const URL_LENGTH_MAX = 2_048

const webUrl: Schema<string> = v.pipe(
  v.string(),
  v.maxLength(URL_LENGTH_MAX),
  v.check((text) => /^https?:$/.test(protocolOf(text)), 'expected an http or https address'),
)

// The schema of #chain/deployment.ts stands beside a reader of files, which a browser has not.
const DeploymentSchema: Schema<ExplorerDeployment> = v.object({
  chainId: v.pipe(v.number(), v.integer(), v.minValue(1)),
  registry: address,
  settlement: address,
  verifier: address,
  fromBlock: uintOf(64),
})

const ConfigSchema: Schema<ExplorerConfig> = v.object({
  rpcUrl: webUrl,
  deployment: DeploymentSchema,
  aggregatorUrl: webUrl,
  relayUrl: v.exactOptional(webUrl),
})

/**
 * The configuration of `text` (explorer.json, undefined where there is none) with the fragment's `overrides`. Throws `WireError`, whose message is for
 * the person.
 */
export function parseConfig(text: string | undefined, overrides: URLSearchParams): ExplorerConfig {
  const base = text === undefined ? {} : parseJson(v.record(v.string(), v.unknown()), text, 'explorer.json')
  const replaced = Object.entries(OVERRIDES).flatMap(([name, key]) => {
    const value = overrides.get(name)
    if (value === null || value === '') return []
    return [[key, key === 'deployment' ? parseJson(v.unknown(), value, 'the deployment') : value] as const]
  })
  if (text === undefined && replaced.length === 0) {
    throw new WireError('BAD_SHAPE', 'There is no explorer.json beside this page: say here where to read from.')
  }
  return parseShape(ConfigSchema, { ...base, ...Object.fromEntries(replaced) }, 'configuration')
}

/** What in `overrides` replaces something, by name. */
export function replacedBy(overrides: URLSearchParams): OverrideName[] {
  return (Object.keys(OVERRIDES) as OverrideName[]).filter((name) => (overrides.get(name) ?? '') !== '')
}

function protocolOf(text: string): string {
  return URL.canParse(text) ? new URL(text).protocol : ''
}
