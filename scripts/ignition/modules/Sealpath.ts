/** Deployment of the whole protocol: registry, vault, settlement, the view of proofs, and the example that pays a bounty. @module */
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'
import type { IgnitionModule, NamedArtifactContractDeploymentFuture } from '@nomicfoundation/ignition-core'

type Deployed<Name extends string> = NamedArtifactContractDeploymentFuture<Name>

type SealpathContracts = {
  registry: Deployed<'EnclaveRegistry'>
  vault: Deployed<'CreditVault'>
  settlement: Deployed<'ReceiptSettlement'>
  inference: Deployed<'InferenceVerifier'>
  bounty: Deployed<'FixedPromptBounty'>
}

/** The deployer owns registry and vault until the deploy script hands them on. Parameters: protocol, verifier (an IEvidenceVerifier), token, approvalDelay, keyConfigsDelay, allowsDevelopment, protocolBps, settlerBps. */
const Sealpath: IgnitionModule<'Sealpath', string, SealpathContracts> = buildModule('Sealpath', (m) => {
  const owner = m.getAccount(0)
  const token = m.getParameter<string>('token')

  const registry = m.contract('EnclaveRegistry', [
    owner,
    m.getParameter<string>('verifier'),
    m.getParameter('approvalDelay'),
    m.getParameter('keyConfigsDelay'),
    m.getParameter('allowsDevelopment'),
  ])
  const vault = m.contract('CreditVault', [owner, token])
  const settlement = m.contract('ReceiptSettlement', [
    registry,
    vault,
    m.getParameter<string>('protocol'),
    m.getParameter('protocolBps'),
    m.getParameter('settlerBps'),
  ])
  m.call(registry, 'bindSettlement', [settlement])
  m.call(vault, 'bindSettlement', [settlement])

  const inference = m.contract('InferenceVerifier', [settlement, registry])
  const bounty = m.contract('FixedPromptBounty', [settlement, registry, token])
  return { registry, vault, settlement, inference, bounty }
})

export default Sealpath
