/** An enclave's evidence, fetched through a relay and verified here, step by step. Loaded when an enclave's page asks for it. @module */
import { nitroVerifierAbi } from '#chain/generated/abis.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { EVIDENCE_AGE_SECONDS_MAX } from '#protocol/evidence/appraisal.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import type { EvidenceCheckName, PinnedRoot } from '#protocol/evidence/evidence.ts'
import { EvidenceError } from '#protocol/evidence/evidenceError.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { ENCLAVE_ROLE, verifyStatement } from '#protocol/evidence/statement.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type PublicEvidence, PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { fetchDocument, fetchDocumentText, readDirectories } from '../sdk/relayDocuments.ts'
import type { ExplorerDeployment } from './config.ts'
import type { EnclaveView } from './enclave.ts'
import { time } from './format.ts'
import type { Reader } from './reader.ts'
import { failed, passed, type Step } from './steps.ts'

const TITLES: Readonly<Record<EvidenceCheckName, string>> = {
  format: 'The document is well formed',
  root: 'Its first certificate is the pinned root',
  chain: 'Its certificates may follow each other',
  'chain-signatures': 'Each certificate signed the next',
  'document-signature': 'The last certificate signed the document',
  validity: 'Every certificate is valid today',
  freshness: 'It is fresh',
  'debug-mode': 'The enclave is not in debug mode',
  'user-data': 'It binds what was asked',
  nonce: 'It binds the nonce',
  measurement: 'It measures what the registry says',
}

export type Served = { readonly evidence: PublicEvidence; readonly keysHash: Hex; readonly url: URL }

/** What the enclave serves through the relay: undefined when no resource of the relay leads to it. Throws `SealpathError` (`RELAY_FAILED`). */
export async function fetchEvidence(relayUrl: string, enclave: Hex): Promise<Served | undefined> {
  const resources = await readDirectories(relayUrl)
  const served = await Promise.all(
    resources.map(async (url): Promise<Served | undefined> => {
      try {
        const [text, keys] = await Promise.all([
          fetchDocumentText(new URL(`${url.pathname}/evidence`, url)),
          fetchDocument(new URL(`${url.pathname}/ohttp-keys`, url)),
        ])
        return { evidence: parseJson(PublicEvidenceSchema, text, 'evidence'), keysHash: toHex(keccak256(keys)), url }
      } catch {
        // One that serves rubbish must not hide the others.
        return undefined
      }
    }),
  )
  return served.find((each) => each?.evidence.statement.enclave === enclave)
}

/** Every check of the document and of what it binds, against what the chain says of the enclave. `now` in seconds since the epoch. */
export async function examineEvidence(
  { reader, deployment }: { readonly reader: Reader; readonly deployment: ExplorerDeployment },
  entry: EnclaveView,
  { evidence, keysHash }: Served,
  now: bigint,
): Promise<Step[]> {
  const { statement, document } = evidence
  const roots = [AWS_NITRO_ROOT, ...(await developmentRoots(reader, deployment, entry, document))]
  const policy = { roots, ageSecondsMax: EVIDENCE_AGE_SECONDS_MAX, measurements: new Set([entry.measurement]) }
  const verdict = verifyNitroEvidence(document, policy, now)
  const steps = verdict.checks.map(({ name, passed: isPassed, detail }) => {
    // The verifier counts in seconds since the epoch, people do not.
    const fact = name === 'validity' && verdict.ok ? `valid until ${time(verdict.evidence.validUntil)}` : detail
    return (isPassed ? passed : failed)(name, TITLES[name], `${fact.charAt(0).toUpperCase()}${fact.slice(1)}.`)
  })
  if (!verdict.ok) return steps
  const { chainId, registry } = deployment
  const bound = verifyStatement(
    verdict.evidence.userData,
    { ...statement, role: ENCLAVE_ROLE[statement.role] },
    { chainId, registry },
  )
  const says = (isOk: boolean, name: string, title: string, fact: string, complaint: string) =>
    steps.push((isOk ? passed : failed)(name, title, isOk ? fact : complaint))
  says(
    bound.ok,
    'statement',
    'It binds the enclave’s statement',
    'Signing key, keys, operator, chain and registry of the statement give its user data.',
    'Its user data is not the digest of the statement that came along.',
  )
  const isSame = statement.operator === entry.operator && statement.role === entry.role
  says(
    isSame,
    'registry',
    'Statement and registry agree',
    `Role ${entry.role}, operator ${entry.operator}.`,
    'They name different operators or roles.',
  )
  const isLive = entry.keyConfigs.some(
    ({ hash, activeFrom, expiresAt }) => hash === keysHash && activeFrom <= entry.now && expiresAt > entry.now,
  )
  says(
    isLive,
    'keys',
    'The keys it serves are those on chain',
    `Hash ${keysHash}.`,
    `The registry does not hold ${keysHash} as live.`,
  )
  says(
    (verdict.evidence.kind === 'development') === entry.isDevelopment,
    'kind',
    'Both say which kind of enclave it is',
    entry.isDevelopment ? 'A development enclave: no hardware stands behind it.' : 'A Nitro enclave.',
    'Registry and evidence disagree on whether this is a development enclave.',
  )
  return steps
}

/** The root of a development enclave is the one that the chain's own verifier pins, and no other. */
async function developmentRoots(
  reader: Reader,
  { verifier }: ExplorerDeployment,
  { isDevelopment }: EnclaveView,
  document: Uint8Array,
): Promise<PinnedRoot[]> {
  if (!isDevelopment) return []
  const pinned = await reader.readContract({ address: verifier, abi: nitroVerifierAbi, functionName: 'ROOT_HASH' })
  try {
    const [certificate] = parseNitroDocument(document).cabundle
    const isPinned = certificate !== undefined && toHex(keccak256(certificate)) === pinned
    return isPinned ? [{ kind: 'development', certificate }] : []
  } catch (error) {
    // A malformed document gets its own code from the verifier.
    if (error instanceof EvidenceError) return []
    throw error
  }
}
