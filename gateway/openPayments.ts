/** From the configuration to how requests are paid for. @module */
import { AppError } from '#node/appError.ts'
import { loadDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import type { AttesterConfig, EnclaveChain } from '#node/enclave/config.ts'
import type { Enclave } from '#node/enclave/enclave.ts'
import type { Logger } from '#node/log.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import type { IssuerConfig } from './config.ts'
import { createIssuerClient } from './issuerClient.ts'
import { createPayments, type Payments } from './payment.ts'

export type PaymentsContext = {
  readonly chain: EnclaveChain
  readonly attester: AttesterConfig
  readonly enclave: Enclave
  readonly suites: SealingSuites
  readonly log: Logger
  readonly nowSeconds: () => number
}

/** Payments by the credits of the configured issuer. Throws `AppError` (`BAD_CONFIG`) without reference values where something is at stake. */
export function openPayments(config: IssuerConfig, context: PaymentsContext): Payments {
  const { chain, enclave, suites, log, nowSeconds } = context
  if (config.measurements === undefined && !isLocalChain(chain.chainId)) {
    throw new AppError(
      'BAD_CONFIG',
      'issuer.measurements is needed on a chain that is not local: which issuers to believe',
    )
  }
  const roots = acceptedRoots(context.attester)
  const issuer = createIssuerClient({
    urls: config.urls,
    chain: { ...chain, vault: config.vault },
    ...(config.measurements === undefined ? {} : { measurements: config.measurements }),
    roots: () => roots,
    suites,
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    nowSeconds,
  })
  return createPayments(issuer, log)
}

/** A development gateway takes issuers under its own development root; any other takes hardware only. */
function acceptedRoots(attester: AttesterConfig): PinnedRoot[] {
  if (attester.kind !== 'development') return [AWS_NITRO_ROOT]
  const root = loadDevelopmentRoot(attester.rootFile, Math.floor(Date.now() / 1000))
  return [AWS_NITRO_ROOT, pinDevelopmentRoot(root)]
}
