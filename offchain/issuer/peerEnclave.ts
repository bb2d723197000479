/**
 * Another issuer's enclave, checked before a keyset passes between the two: the same for the one that gives and the one that takes. What the
 * registry says of it is asked apart (handover.ts).
 * @module
 */
import { loadDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import type { AttesterConfig, EnclaveChain } from '#node/enclave/config.ts'
import type { Hex } from '#protocol/bytes.ts'
import { EVIDENCE_AGE_SECONDS_MAX } from '#protocol/evidence/appraisal.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { bindsKeyConfigs } from '#protocol/evidence/keyAnnouncement.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { ENCLAVE_ROLE, verifyStatement } from '#protocol/evidence/statement.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { type KeyConfig, KeyConfigError, parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { KEM_X_WING } from '#protocol/sealing/suite.ts'
import type { PublicEvidence, Statement } from '#protocol/wire/agentApi.ts'
import type { HandoverErrorCode } from '#protocol/wire/handoverApi.ts'

/** What it serves to everybody: `keyConfigs` is its `application/ohttp-keys` document. */
export type PeerDocuments = { readonly evidence: PublicEvidence; readonly keyConfigs: Uint8Array }

export type PeerPolicy = {
  /** Where we are and whose we are: the peer must be there too, and the same operator's. */
  readonly binding: EnclaveChain
  readonly roots: readonly PinnedRoot[]
  /** Accepted results of `measurementOf`. */
  readonly measurements: ReadonlySet<Hex>
}

/** `config` is the attested key to seal to. */
export type PeerCheck =
  | { readonly ok: true; readonly enclave: Hex; readonly measurement: Hex; readonly config: KeyConfig }
  | { readonly ok: false; readonly code: PeerRefusalCode; readonly message: string }

export type PeerRefusalCode = Extract<
  HandoverErrorCode,
  'WRONG_ROLE' | 'OTHER_NETWORK' | 'OTHER_OPERATOR' | 'WRONG_KEYS' | 'EVIDENCE_REFUSED' | 'STATEMENT_MISMATCH'
>

/** What the peer states, cheap to check and worth nothing without its evidence. */
export function checkStatement(statement: Statement, { binding }: Pick<PeerPolicy, 'binding'>): PeerCheck | undefined {
  const isSameNetwork =
    statement.chainId === binding.chainId &&
    statement.registry === binding.registry &&
    statement.settlement === binding.settlement
  if (!isSameNetwork) return refuse('OTHER_NETWORK', 'it is bound to another chain or other contracts')
  if (statement.role !== 'issuer') return refuse('WRONG_ROLE', 'it is no issuer')
  if (statement.operator !== binding.operator) return refuse('OTHER_OPERATOR', "it is another operator's")
  return undefined
}

/** Checks everything the peer itself can show. `nowSeconds` since the epoch. Takes some ten milliseconds. */
export function verifyPeer({ evidence, keyConfigs }: PeerDocuments, policy: PeerPolicy, nowSeconds: bigint): PeerCheck {
  const { statement, document } = evidence
  const refusal = checkStatement(statement, policy)
  if (refusal !== undefined) return refusal
  const isBound = bindsKeyConfigs(statement, evidence.announcement, keyConfigs, policy.binding)
  const config = isBound ? chooseConfig(keyConfigs) : undefined
  if (config === undefined) return refuse('WRONG_KEYS', 'its key configurations are not those that its evidence binds')
  const { roots, measurements, binding } = policy
  const verdict = verifyNitroEvidence(
    document,
    { roots, measurements, ageSecondsMax: EVIDENCE_AGE_SECONDS_MAX },
    nowSeconds,
  )
  if (!verdict.ok) return refuse('EVIDENCE_REFUSED', `its evidence does not verify: ${verdict.code}`)
  const { userData, measurement } = verdict.evidence
  const bound = verifyStatement(userData, { ...statement, role: ENCLAVE_ROLE.issuer }, binding)
  if (!bound.ok) return refuse('STATEMENT_MISMATCH', 'its evidence was made for another statement')
  return { ok: true, enclave: statement.enclave, measurement, config }
}

function chooseConfig(keyConfigs: Uint8Array): KeyConfig | undefined {
  try {
    const configs = parseKeyConfigList(keyConfigs)
    return configs.find(({ kemId }) => kemId === KEM_X_WING) ?? configs[0]
  } catch (error) {
    if (error instanceof KeyConfigError) return undefined
    throw error
  }
}

function refuse(code: PeerRefusalCode, message: string): PeerCheck {
  return { ok: false, code, message }
}

/**
 * Roots of the kind that this enclave stands under itself, and no other: development and hardware measure the same, and keys born in hardware
 * must not pass to where they can be read.
 */
export function peerRoots(attester: AttesterConfig): PinnedRoot[] {
  if (attester.kind !== 'development') return [AWS_NITRO_ROOT]
  return [pinDevelopmentRoot(loadDevelopmentRoot(attester.rootFile, Math.floor(Date.now() / 1000)))]
}

/** What this enclave itself measures as, by its own document. */
export function ownMeasurement(kind: AttesterConfig['kind'], { document }: PublicEvidence): Hex {
  return measurementOf(kind, ...parseNitroDocument(document).bootPcrs)
}
