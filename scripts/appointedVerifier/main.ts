/**
 * The appointed verifier: verifies an attestation document in TypeScript and signs what it says, for AppointedVerifier on chain.
 *
 *   POST /v1/appraisals   { document: base64 } -> { hints: hex }; 422 with the verifier's code when the document is refused
 *
 * It exists until the registry verifies documents itself. @module
 */
import { readFileSync } from 'node:fs'
import { Hono } from 'hono'
import * as v from 'valibot'
import { encodeAbiParameters } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { parseDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { DRAIN_MS, runRole } from '#node/role.ts'
import { addHealth, startServer } from '#node/server.ts'
import { toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import type { Evidence, PinnedRoot } from '#protocol/evidence/evidence.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { address, base64Of, parseJson, type Schema, toJson } from '#protocol/wire/json.ts'

type AppointedVerifierConfig = {
  readonly listen: { readonly host: string; readonly port: number }
  readonly chainId: number
  /** Address of AppointedVerifier. */
  readonly verifier: `0x${string}`
  readonly keyFile: string
  /** Accepted besides AWS's root; local chains only. */
  readonly developmentRootFile?: string
}

const ConfigSchema: Schema<AppointedVerifierConfig> = v.object({
  listen: v.object({ host: v.string(), port: v.number() }),
  chainId: v.number(),
  verifier: address,
  keyFile: v.string(),
  developmentRootFile: v.exactOptional(v.string()),
})

const RequestSchema: Schema<{ document: Uint8Array }> = v.object({ document: base64Of(16_384) })

/** Oldest document vouched for, in seconds: the registry's own bound. */
const AGE_SECONDS_MAX = 7_200n

/** EIP-712 types of `AttestationResult`; twin of contracts/attestation/AppointedVerifier.sol. */
const RESULT_TYPES = {
  AttestationResult: [
    { name: 'document', type: 'bytes32' },
    { name: 'measurement', type: 'bytes32' },
    { name: 'userData', type: 'bytes32' },
    { name: 'issuedAt', type: 'uint64' },
    { name: 'validUntil', type: 'uint64' },
    { name: 'development', type: 'bool' },
  ],
} as const

const HINTS = [
  {
    type: 'tuple',
    components: [
      { name: 'measurement', type: 'bytes32' },
      { name: 'userData', type: 'bytes32' },
      { name: 'issuedAt', type: 'uint64' },
      { name: 'validUntil', type: 'uint64' },
      { name: 'development', type: 'bool' },
    ],
  },
  { type: 'bytes' },
] as const

await runRole('appointed-verifier', ConfigSchema, async (config, log) => {
  const account = privateKeyToAccount(readFileSync(config.keyFile, 'utf8').trim() as `0x${string}`)
  const roots = pinnedRoots(config.developmentRootFile)
  const app = new Hono()
  addHealth(app, () => [])
  app.post('/v1/appraisals', async (c) => {
    const { document } = parseJson(RequestSchema, await c.req.text(), 'appraisal request')
    const now = BigInt(Math.floor(Date.now() / 1000))
    const verdict = verifyNitroEvidence(document, { roots, ageSecondsMax: AGE_SECONDS_MAX }, now)
    if (!verdict.ok) {
      log.warn('document refused', { code: verdict.code })
      return c.json({ error: { code: verdict.code, message: verdict.message } }, 422)
    }
    const result = resultOf(verdict.evidence)
    const signature = await account.signTypedData({
      domain: {
        name: 'Sealpath AppointedVerifier',
        version: '1',
        chainId: config.chainId,
        verifyingContract: config.verifier,
      },
      types: RESULT_TYPES,
      primaryType: 'AttestationResult',
      message: { document: verdict.evidence.documentHash, ...result },
    })
    log.info('document verified', { measurement: result.measurement, development: result.development })
    return c.body(toJson({ hints: encodeAbiParameters(HINTS, [result, signature]) }), 200, {
      'content-type': 'application/json',
    })
  })
  const server = await startServer(app, config.listen)
  return { close: () => server.close(DRAIN_MS) }
})

function resultOf(evidence: Evidence): {
  measurement: `0x${string}`
  userData: `0x${string}`
  issuedAt: bigint
  validUntil: bigint
  development: boolean
} {
  // A document that binds nothing else than 32 bytes cannot match any statement: zero matches none either.
  const userData = evidence.userData?.length === 32 ? toHex(evidence.userData) : toHex(new Uint8Array(32))
  return {
    measurement: evidence.measurement,
    userData,
    issuedAt: evidence.issuedAt,
    validUntil: evidence.validUntil,
    development: evidence.kind === 'development',
  }
}

function pinnedRoots(developmentRootFile: string | undefined): PinnedRoot[] {
  if (developmentRootFile === undefined) return [AWS_NITRO_ROOT]
  return [AWS_NITRO_ROOT, pinDevelopmentRoot(parseDevelopmentRoot(readFileSync(developmentRootFile, 'utf8')))]
}
