/**
 * Writes test/vectors/evidence.json: one development document with its root and the hints for a cold chain, so that tests in TypeScript and in
 * Solidity look at the same bytes in every run. Its keys are random and thrown away: running this makes another document, of the same date.
 * Run: `node scripts/generateEvidence.ts`.
 * @module
 */
import { writeFileSync } from 'node:fs'
import { nitroRootOf } from '#chain/nitroRoot.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { keccak256 } from '#protocol/hash.ts'
import { EVIDENCE_VECTOR_FILE, type EvidenceVector } from '../test/support/evidenceVector.ts'

const ISSUED_AT_MS = Date.UTC(2026, 10, 21, 12, 0, 0, 789)
const PCRS = new Map([0, 1, 2, 4].map((index) => [index, new Uint8Array(48).fill(index + 1)]))

const attester = createDevelopmentAttester({ pcrs: PCRS, now: () => ISSUED_AT_MS })
const document = await attester.attest({
  userData: keccak256(encodeUtf8('user data')),
  nonce: keccak256(encodeUtf8('nonce')),
  publicKey: keccak256(encodeUtf8('public key')),
})
const vector: EvidenceVector = {
  source: 'Our own development attester (offchain/node/attesters), whose documents have the shape of real ones.',
  generator: 'scripts/generateEvidence.ts; do not edit: test/integration/nitroMutation.test.ts verifies it',
  issuedAt: Math.floor(ISSUED_AT_MS / 1000),
  root: toHex(attester.root.certificate),
  rootArgument: nitroRootOf(attester.root.certificate),
  document: toHex(document),
  hints: toHex(
    makeNitroHints(
      document,
      authorityIds(document).map(() => false),
    ),
  ),
}
writeFileSync(EVIDENCE_VECTOR_FILE, `${JSON.stringify(vector, null, 2)}\n`)
