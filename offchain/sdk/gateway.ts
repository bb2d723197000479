/**
 * Which gateways to trust: what the relay offers, what the registry admits, what the evidence proves. Only a gateway on which all three
 * agree is sealed to, and the client picks among those at random (gatewayPool.ts): neither relay nor gateway can steer it to a key of their choice.
 * @module
 */
import type { ChainReads } from '#chain/chainReads.ts'
import { type LiveEnclave, readLiveEnclaves } from '#chain/registry.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { EVIDENCE_AGE_SECONDS_MAX } from '#protocol/evidence/appraisal.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { ENCLAVE_ROLE, verifyStatement } from '#protocol/evidence/statement.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type KeyConfig, parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { KEM_X_WING } from '#protocol/sealing/suite.ts'
import { type PublicEvidence, PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { SealpathError } from './errors.ts'
import type { GatewayPolicy, RelayFetch } from './options.ts'
import { fetchDocument, fetchDocumentText, readDirectories } from './relayDocuments.ts'

/** A gateway that may be sealed to. */
export type TrustedGateway = {
  readonly enclave: Hex
  readonly operator: Hex
  readonly measurement: Hex
  readonly isDevelopment: boolean
  /** Its relay resource. */
  readonly url: URL
  /** In the gateway's order of preference. */
  readonly keyConfigs: readonly KeyConfig[]
}

export type Network = {
  readonly client: ChainReads
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  /** One relay or several. */
  readonly relayUrl: string | readonly string[]
  /** As in `ConnectOptions`. */
  readonly fetch?: RelayFetch | undefined
}

/**
 * Every gateway behind the relay that registry, evidence and policy agree on; one that several relay resources lead to stands there for each. Throws `SealpathError`: `CHAIN_FAILED`, `RELAY_FAILED`; when
 * none is left, `EVIDENCE_REFUSED` with the reason if there was just one, `NO_GATEWAY` otherwise.
 */
export function findGateways(network: Network, policy: GatewayPolicy, nowSeconds: bigint): Promise<TrustedGateway[]> {
  return findEnclaves(network, 'gateway', policy, nowSeconds)
}

/** Likewise every issuer behind the relay: it is reached like a gateway and never learns who asks. */
export function findIssuers(network: Network, policy: GatewayPolicy, nowSeconds: bigint): Promise<TrustedGateway[]> {
  return findEnclaves(network, 'issuer', policy, nowSeconds)
}

type Role = keyof typeof ENCLAVE_ROLE

async function findEnclaves(
  network: Network,
  role: Role,
  policy: GatewayPolicy,
  nowSeconds: bigint,
): Promise<TrustedGateway[]> {
  const [live, resources] = await Promise.all([
    readRegistry(network, role),
    readDirectories(network.relayUrl, network.fetch),
  ])
  const refusals: SealpathError[] = []
  const found = await Promise.all(
    resources.map(async (url) => {
      try {
        return await checkEnclave(network, role, url, live, policy, nowSeconds)
      } catch (error) {
        // One gateway that serves rubbish must not keep clients from the others.
        const refusal =
          error instanceof SealpathError ? error : refuse('MALFORMED', 'what the gateway serves is malformed')
        refusals.push(refusal)
        return undefined
      }
    }),
  )
  const trusted = found.filter((gateway) => gateway !== undefined)
  if (trusted.length > 0) return trusted
  const [only] = refusals
  if (only !== undefined && refusals.length === 1) throw only
  throw new SealpathError('NO_GATEWAY', 'no such enclave behind this relay agrees with the registry and your policy', {
    ...(only === undefined ? {} : { cause: only }),
  })
}

async function readRegistry({ client, registry }: Network, role: Role): Promise<LiveEnclave[]> {
  try {
    return await readLiveEnclaves(client, registry, ENCLAVE_ROLE[role])
  } catch (cause) {
    throw new SealpathError('CHAIN_FAILED', 'cannot read the registry: check rpcUrl and the registry address', {
      cause,
    })
  }
}

async function checkEnclave(
  network: Network,
  role: Role,
  url: URL,
  live: readonly LiveEnclave[],
  policy: GatewayPolicy,
  nowSeconds: bigint,
): Promise<TrustedGateway | undefined> {
  const [evidenceText, keyBytes] = await Promise.all([
    fetchDocumentText(new URL(`${url.pathname}/evidence`, url), network.fetch),
    fetchDocument(new URL(`${url.pathname}/ohttp-keys`, url), network.fetch),
  ])
  const evidence = parseJson(PublicEvidenceSchema, evidenceText, 'gateway evidence')
  const { statement } = evidence
  // A relay serves enclaves of all roles. One that says it is of another is not meant.
  if (statement.role !== role) return undefined
  const entry = live.find((candidate) => candidate.enclave === statement.enclave)
  if (entry === undefined) throw refuse('NOT_REGISTERED', 'the registry does not know this enclave as active')
  checkBinding(network, evidence, entry, toHex(keccak256(keyBytes)))
  checkPolicy(policy, entry)
  checkDocument(network, evidence, entry, policy, nowSeconds)
  const gateway = { ...entry, url, keyConfigs: parseKeyConfigList(keyBytes) }
  // Throws for an enclave to which this client could seal nothing.
  preferredConfig(gateway.keyConfigs)
  return gateway
}

/** Statement, registry and the keys that were served must name the same things. */
function checkBinding(network: Network, { statement }: PublicEvidence, entry: LiveEnclave, keysHash: Hex): void {
  const isSameNetwork =
    statement.chainId === network.chainId &&
    statement.registry === network.registry &&
    statement.settlement === network.settlement
  if (!isSameNetwork) throw refuse('OTHER_NETWORK', 'the gateway is bound to another chain or other contracts')
  // Their roles agree: the registry was asked for this one.
  if (statement.operator !== entry.operator) {
    throw refuse('STATEMENT_MISMATCH', 'registry and gateway name different operators')
  }
  if (!entry.keyConfigs.includes(keysHash)) {
    throw refuse('KEYS_NOT_REGISTERED', 'the keys that were served are not those in the registry')
  }
  // The evidence binds the first document; one announced later is bound by the enclave key's signature in the registry.
}

function checkPolicy(policy: GatewayPolicy, entry: LiveEnclave): void {
  if (!allows(policy.measurements, entry.measurement))
    throw refuse('POLICY', 'your policy does not accept its measurement')
  if (!allows(policy.operators, entry.operator)) throw refuse('POLICY', 'your policy does not accept its operator')
  if (!allows(policy.enclaves, entry.enclave)) throw refuse('POLICY', 'your policy does not accept this enclave')
}

function allows(accepted: readonly Hex[] | undefined, value: Hex): boolean {
  return accepted === undefined || accepted.some((entry) => entry.toLowerCase() === value.toLowerCase())
}

function checkDocument(
  network: Network,
  { statement, document }: PublicEvidence,
  entry: LiveEnclave,
  policy: GatewayPolicy,
  nowSeconds: bigint,
): void {
  const verdict = verifyNitroEvidence(
    document,
    {
      roots: acceptedRoots(network.chainId, policy, document),
      ageSecondsMax: BigInt(policy.evidenceAgeSecondsMax ?? EVIDENCE_AGE_SECONDS_MAX),
      measurements: new Set([entry.measurement]),
    },
    nowSeconds,
  )
  if (!verdict.ok) throw refuse(verdict.code, `the evidence does not verify: ${verdict.message}`)
  const { chainId, registry } = network
  const bound = verifyStatement(
    verdict.evidence.userData,
    { ...statement, role: ENCLAVE_ROLE[statement.role] },
    { chainId, registry },
  )
  if (!bound.ok) throw refuse(bound.code, 'the evidence does not bind the statement')
  if ((verdict.evidence.kind === 'development') !== entry.isDevelopment) {
    throw refuse('KIND_MISMATCH', 'registry and evidence disagree on whether this is a development enclave')
  }
}

function acceptedRoots(chainId: number, policy: GatewayPolicy, document: Uint8Array): PinnedRoot[] {
  if (policy.developmentRoot !== undefined) {
    return [AWS_NITRO_ROOT, { kind: 'development', certificate: policy.developmentRoot }]
  }
  if (!isLocalChain(chainId)) return [AWS_NITRO_ROOT]
  try {
    const [certificate] = parseNitroDocument(document).cabundle
    return certificate === undefined ? [AWS_NITRO_ROOT] : [AWS_NITRO_ROOT, { kind: 'development', certificate }]
  } catch {
    // A malformed document gets its own code from the verifier.
    return [AWS_NITRO_ROOT]
  }
}

function refuse(reason: string, message: string): SealpathError {
  return new SealpathError('EVIDENCE_REFUSED', message, { reason })
}

/** X-Wing where the enclave offers it: what is recorded today stays sealed when X25519 no longer is. */
export function preferredConfig(configs: readonly KeyConfig[]): KeyConfig {
  const config = configs.find(({ kemId }) => kemId === KEM_X_WING) ?? configs[0]
  if (config === undefined)
    throw new SealpathError('EVIDENCE_REFUSED', 'the enclave offers no key that this client knows')
  return config
}
