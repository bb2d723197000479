/** The contracts that verify evidence: SHA-384, P-384 with its table, and the verifier of Nitro documents under one pinned root. @module */
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'
import type { IgnitionModule, NamedArtifactContractDeploymentFuture } from '@nomicfoundation/ignition-core'

type AttestationContracts = { verifier: NamedArtifactContractDeploymentFuture<'NitroVerifier'> }

/** Parameters: guardian (revokes certificates at once), root (NitroVerifier.Root), isDevelopment. */
const Attestation: IgnitionModule<'Attestation', string, AttestationContracts> = buildModule('Attestation', (m) => {
  const table = m.contract('P384Table')
  const p384 = m.contract('P384Verifier', [table])
  const sha384 = m.contract('Sha384')
  const verifier = m.contract('NitroVerifier', [
    m.getParameter<string>('guardian'),
    p384,
    sha384,
    m.getParameter('root'),
    m.getParameter('isDevelopment'),
  ])
  return { verifier }
})

export default Attestation
