/** The contracts that verify evidence: SHA-384, P-384 with its table, and the verifier of Nitro documents under one pinned root. @module */
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'
import type { IgnitionModule, NamedArtifactContractDeploymentFuture } from '@nomicfoundation/ignition-core'

type AttestationContracts = { verifier: NamedArtifactContractDeploymentFuture<'NitroVerifier'> }

/** Parameters: root (NitroVerifier.Root), isDevelopment. The deployer may revoke certificates until the deploy script hands that on. */
const Attestation: IgnitionModule<'Attestation', string, AttestationContracts> = buildModule('Attestation', (m) => {
  const table = m.contract('P384Table')
  const p384 = m.contract('P384Verifier', [table])
  const sha384 = m.contract('Sha384')
  const verifier = m.contract('NitroVerifier', [
    m.getAccount(0),
    p384,
    sha384,
    m.getParameter('root'),
    m.getParameter('isDevelopment'),
  ])
  return { verifier }
})

export default Attestation
