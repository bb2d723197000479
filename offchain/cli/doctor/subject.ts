/** What a role's configuration gives the doctor to look at, the same form for every role. @module */
import type { Listen, PublicListen } from '#node/config/listen.ts'
import type { DatabaseConfig } from '#node/database.ts'
import type { MetricsConfig } from '#node/metrics.ts'
import { parseConfig } from '#node/role.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Schema } from '#protocol/wire/json.ts'
import { type GatewayConfig, GatewayConfigSchema } from '../../../gateway/config.ts'
import { type AggregatorConfig, AggregatorConfigSchema } from '../../aggregator/config.ts'
import { type IssuerConfig, IssuerConfigSchema } from '../../issuer/config.ts'
import { type OperatorConfig, OperatorConfigSchema } from '../../operator/config.ts'
import { type RelayConfig, RelayConfigSchema } from '../../relay/config.ts'

export type RoleName = 'gateway' | 'relay' | 'issuer' | 'aggregator' | 'operator'
export const ROLE_NAMES: readonly RoleName[] = ['gateway', 'relay', 'issuer', 'aggregator', 'operator']

export type Subject = {
  readonly role: RoleName
  readonly ports: readonly Port[]
  readonly rpcUrls: readonly string[]
  readonly chainId?: number
  readonly contracts?: { readonly registry: Hex; readonly settlement?: Hex; readonly vault?: Hex }
  readonly accounts: readonly Account[]
  /** Where an enclave is asked who it is: its agent interface for its operator, its public port for itself. */
  readonly enclave?: { readonly url: string; readonly by: 'agent' | 'itself' }
  readonly peers: readonly Peer[]
  readonly database?: DatabaseConfig
  /** Data that grows. */
  readonly folders: readonly { readonly setting: string; readonly folder: string }[]
}

/** `path` answers on this port, with `sign` in the answer if it is this very role. */
export type Port = {
  readonly setting: string
  readonly listen: PublicListen
  readonly path: string
  readonly sign: string
}

/** An account that sends transactions of about `gas` each, `what` by name. */
export type Account = { readonly setting: string; readonly file: string; readonly what: string; readonly gas: bigint }

/** `path` is asked; anything but 200 is no answer, unless any will do. */
export type Peer = {
  readonly what: string
  readonly url: string
  readonly path: string
  readonly takesAny?: boolean
  readonly caFile?: string
}

/** Rows gas.register.warm and gas.settle.10k of docs/benchmarks.json, the second for 16 enclaves and rounded up. */
const REGISTRATION_GAS = 3_000_000n
const SETTLEMENT_GAS = 500_000n
/** A deposit through the vault, likewise. */
const DEPOSIT_GAS = 300_000n

export const SCHEMAS: Readonly<Record<RoleName, Schema<unknown>>> = {
  gateway: GatewayConfigSchema,
  relay: RelayConfigSchema,
  issuer: IssuerConfigSchema,
  aggregator: AggregatorConfigSchema,
  operator: OperatorConfigSchema,
}

/** The role that a configuration is for, by what only that one has; undefined when nothing tells. */
export function recogniseRole(value: unknown): RoleName | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if ('gatewayAgentUrl' in value) return 'operator'
  if ('backends' in value || 'prices' in value) return 'gateway'
  if ('witnesses' in value || 'keys' in value) return 'issuer'
  if ('accountKeyFiles' in value || 'settle' in value) return 'aggregator'
  return 'gateways' in value ? 'relay' : undefined
}

/** `value` as the configuration of `role`. Throws `AppError` (`BAD_CONFIG`). */
export function readSubject(role: RoleName, value: unknown, what: string): Subject {
  switch (role) {
    case 'gateway':
      return ofGateway(parseConfig(GatewayConfigSchema, value, what))
    case 'relay':
      return ofRelay(parseConfig(RelayConfigSchema, value, what))
    case 'issuer':
      return ofIssuer(parseConfig(IssuerConfigSchema, value, what))
    case 'aggregator':
      return ofAggregator(parseConfig(AggregatorConfigSchema, value, what))
    case 'operator':
      return ofOperator(parseConfig(OperatorConfigSchema, value, what))
  }
}

function ofGateway(config: GatewayConfig & MetricsConfig): Subject {
  const { registry, settlement, chainId } = config.chain
  const issuers = (config.issuer?.urls ?? []).map((url) => ({ what: 'issuer', url, path: '/ohttp-keys' }))
  const servers = config.backends.flatMap((backend) =>
    backend.kind === 'openai'
      ? [{ what: 'model server', url: backend.url, path: '', takesAny: true, ...caOf(backend.caFile) }]
      : [],
  )
  return {
    role: 'gateway',
    ports: enclavePorts('gateway', config),
    rpcUrls: [],
    chainId,
    contracts: { registry, settlement, ...(config.issuer === undefined ? {} : { vault: config.issuer.vault }) },
    accounts: [],
    enclave: { url: urlOf(config.listen), by: 'itself' },
    peers: [...issuers, ...servers],
    folders: [],
  }
}

function ofRelay(config: RelayConfig & MetricsConfig): Subject {
  return {
    role: 'relay',
    ports: [
      {
        setting: 'listen',
        listen: config.listen,
        path: '/gateways',
        sign: `"operator":${JSON.stringify(config.operator)}`,
      },
      ...metricsPort('relay', config.metrics),
    ],
    rpcUrls: [],
    accounts: [],
    peers: config.gateways.map(({ name, url, caFile }) => ({
      what: `gateway ${name}`,
      url,
      path: '/ohttp-keys',
      ...caOf(caFile),
    })),
    folders: [],
  }
}

function ofIssuer(config: IssuerConfig & MetricsConfig): Subject {
  const { registry, settlement, vault, chainId } = config.chain
  const givers = 'from' in config.keys ? config.keys.from : []
  return {
    role: 'issuer',
    ports: enclavePorts('issuer', config),
    rpcUrls: config.rpcUrls,
    chainId,
    contracts: { registry, settlement, vault },
    accounts: [],
    enclave: { url: urlOf(config.listen), by: 'itself' },
    peers: [
      ...config.witnesses.urls.map((url) => ({ what: 'witness', url, path: '/v1/status' })),
      ...givers.map((url) => ({ what: 'issuer', url, path: '/ohttp-keys' })),
    ],
    database: config.database,
    folders: databaseFolder(config.database),
  }
}

function ofAggregator(config: AggregatorConfig & MetricsConfig): Subject {
  const { registry, settlement, chainId } = config.deployment
  return {
    role: 'aggregator',
    ports: [
      { setting: 'listen', listen: config.listen, path: '/v1/status', sign: '"unsettledHeads"' },
      ...metricsPort('aggregator', config.metrics),
    ],
    rpcUrls: config.rpcUrls,
    chainId,
    contracts: { registry, settlement },
    accounts: config.accountKeyFiles.map((file, i) => ({
      setting: `accountKeyFiles.${i}`,
      file,
      what: 'settlement',
      gas: SETTLEMENT_GAS,
    })),
    peers: [],
    database: config.database,
    folders: databaseFolder(config.database),
  }
}

function ofOperator(config: OperatorConfig & MetricsConfig): Subject {
  const { registry, deposits } = config
  const desk = deposits && { setting: 'deposits.accountKeyFile', file: deposits.accountKeyFile, what: 'deposit' }
  return {
    role: 'operator',
    ports: [
      { setting: 'listen', listen: config.listen, path: '/readyz', sign: '"reasons"' },
      ...(config.page === undefined ? [] : [{ setting: 'page', listen: config.page, path: '/', sign: 'sealpath' }]),
      ...metricsPort('operator', config.metrics),
    ],
    rpcUrls: [config.rpcUrl],
    contracts: { registry, ...(deposits === undefined ? {} : { vault: deposits.vault }) },
    accounts: [
      { setting: 'accountKeyFile', file: config.accountKeyFile, what: 'registration', gas: REGISTRATION_GAS },
      ...(desk === undefined ? [] : [{ ...desk, gas: DEPOSIT_GAS }]),
    ],
    enclave: { url: config.gatewayAgentUrl, by: 'agent' },
    peers: [
      { what: 'enclave', url: config.gatewayAgentUrl, path: '/agent/status' },
      ...config.aggregators.map((url) => ({ what: 'aggregator', url, path: '/v1/status' })),
    ],
    folders: [{ setting: 'dataFolder', folder: config.dataFolder }],
  }
}

function enclavePorts(
  role: 'gateway' | 'issuer',
  config: Pick<GatewayConfig | IssuerConfig, 'listen' | 'agentListen' | 'chain'> & MetricsConfig,
): readonly Port[] {
  const sign = `"operator":"${config.chain.operator}"`
  return [
    { setting: 'listen', listen: config.listen, path: '/evidence', sign },
    { setting: 'agentListen', listen: config.agentListen, path: '/agent/status', sign },
    ...metricsPort(role, config.metrics),
  ]
}

function metricsPort(role: RoleName, listen: Listen | undefined): readonly Port[] {
  return listen === undefined ? [] : [{ setting: 'metrics', listen, path: '/metrics', sign: `role="${role}"` }]
}

function databaseFolder(database: DatabaseConfig): Subject['folders'] {
  return 'folder' in database ? [{ setting: 'database.folder', folder: database.folder }] : []
}

function caOf(caFile: string | undefined): { readonly caFile?: string } {
  return caFile === undefined ? {} : { caFile }
}

/** How this machine reaches what listens there. */
export function urlOf({ host, port, tls }: PublicListen): string {
  const own = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `${tls === undefined ? 'http' : 'https'}://${own.includes(':') ? `[${own}]` : own}:${port}`
}
