/**
 * The enclave's identity: a receipt key and sealing keys born at boot, and the evidence that binds them to the measured code.
 * Nothing of it is ever written down: a restart is a new enclave with a new log.
 * @module
 */
import { randomBytes } from 'node:crypto'
import type { Attester } from '#node/attesters/attester.ts'
import type { KeyRing } from '#node/sealing/keyRing.ts'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { hashKeyAnnouncement, type KeyAnnouncement } from '#protocol/evidence/keyAnnouncement.ts'
import { ENCLAVE_ROLE, hashStatement } from '#protocol/evidence/statement.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import type { AgentStatus, PublicEvidence, Statement } from '#protocol/wire/agentApi.ts'
import type { EnclaveChain } from './config.ts'
import { KEY_OVERLAP_SECONDS, SealingKeys } from './sealingKeys.ts'

export type Enclave = {
  readonly statement: Statement
  readonly privateKey: Uint8Array
  /** What requests are opened with. */
  readonly keys: KeyRing
  /** The `application/ohttp-keys` document of now. */
  readonly keyConfigs: Uint8Array
  readonly status: AgentStatus
  /** The one document that everybody gets; undefined until the operator agent brought a nonce. */
  evidence(): PublicEvidence | undefined
  /** Makes a fresh document over `nonce` (32 bytes). Throws `AttesterError`. */
  renewEvidence(nonce: Uint8Array): Promise<Uint8Array>
  /** The keys that come next, announced by the enclave. Throws `SealingKeysError` (`TOO_SOON`). */
  nextKeys(): Promise<KeyAnnouncement>
  /** Serves the next keys, which are live in the registry. Throws `SealingKeysError` (`UNKNOWN_KEYS`). */
  useKeys(hash: Hex): Promise<void>
}

/** Boots an enclave: makes its keys and its statement. */
export async function bootEnclave(
  role: 'gateway' | 'issuer',
  binding: EnclaveChain,
  attester: Attester,
  suites: SealingSuites<Uint8Array>,
  keyOverlapSeconds: number = KEY_OVERLAP_SECONDS,
): Promise<Enclave> {
  const privateKey = new Uint8Array(randomBytes(32))
  const keys = await SealingKeys.create(suites, keyOverlapSeconds)
  const statement: Statement = {
    ...binding,
    role,
    enclave: enclaveOfKey(privateKey),
    keyConfigs: keys.hash,
  }
  const digest = hashStatement({ ...statement, role: ENCLAVE_ROLE[role] }, binding)
  const possession = expandSignature(signDigest(digest, privateKey))
  const announce = (hash: Hex): KeyAnnouncement => {
    const announced = hashKeyAnnouncement({ enclave: statement.enclave, hash }, binding)
    return { hash, signature: expandSignature(signDigest(announced, privateKey)) }
  }
  /** Nothing for the first keys: the statement names them. */
  let announcement: { readonly announcement?: KeyAnnouncement } = {}
  let current: PublicEvidence | undefined
  return {
    statement,
    privateKey,
    keys: keys.ring,
    get keyConfigs() {
      return keys.document
    },
    get status() {
      return { statement, keyConfigs: keys.document, possession, ...announcement }
    },
    evidence: () => (current === undefined ? undefined : { ...current, ...announcement }),
    async renewEvidence(nonce) {
      const document = await attester.attest({ userData: fromHex(digest), nonce })
      current = { format: 'sealpath-evidence/1', statement, document }
      return document
    },
    nextKeys: async () => announce(await keys.next()),
    async useKeys(hash) {
      await keys.use(hash)
      if (hash !== statement.keyConfigs) announcement = { announcement: announce(hash) }
    },
  }
}
