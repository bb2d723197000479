/** Deployment of the whole protocol: its timelock, registry, vault, settlement, the view of proofs, and the example that pays a bounty. @module */
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'
import type { IgnitionModule, NamedArtifactContractDeploymentFuture } from '@nomicfoundation/ignition-core'

type Deployed<Name extends string> = NamedArtifactContractDeploymentFuture<Name>

type SealpathContracts = {
  timelock: Deployed<'TimelockController'>
  registry: Deployed<'EnclaveRegistry'>
  vault: Deployed<'CreditVault'>
  settlement: Deployed<'ReceiptSettlement'>
  inference: Deployed<'InferenceVerifier'>
  bounty: Deployed<'FixedPromptBounty'>
}

const ANYONE = '0x0000000000000000000000000000000000000000'
const NOBODY = ANYONE

/**
 * The timelock owns registry and vault from their first block: `proposer` proposes, anyone executes after `approvalDelay` seconds, nobody administers.
 * Parameters: proposer, guardian, protocol, verifier (an IEvidenceVerifier), token, approvalDelay, protocolBps, settlerBps, thawSeconds, and
 * keyConfigsDelay, allowsDevelopment, gatewayBond, issuerBond of `EnclaveRegistry.Terms`.
 */
const Sealpath: IgnitionModule<'Sealpath', string, SealpathContracts> = buildModule('Sealpath', (m) => {
  const token = m.getParameter<string>('token')
  const timelock = m.contract('TimelockController', [
    m.getParameter('approvalDelay'),
    [m.getParameter<string>('proposer')],
    [ANYONE],
    NOBODY,
  ])
  const registry = m.contract('EnclaveRegistry', [
    timelock,
    m.getParameter<string>('guardian'),
    m.getParameter<string>('verifier'),
    token,
    {
      keyConfigsDelay: m.getParameter('keyConfigsDelay'),
      allowsDevelopment: m.getParameter('allowsDevelopment'),
      gatewayBond: m.getParameter('gatewayBond'),
      issuerBond: m.getParameter('issuerBond'),
    },
  ])
  const vault = m.contract('CreditVault', [timelock, m.getParameter<string>('guardian'), registry, token])
  const settlement = m.contract('ReceiptSettlement', [
    registry,
    vault,
    m.getParameter<string>('protocol'),
    m.getParameter('protocolBps'),
    m.getParameter('settlerBps'),
    m.getParameter('thawSeconds'),
  ])
  m.call(registry, 'bindSettlement', [settlement])
  m.call(vault, 'bindSettlement', [settlement])

  const inference = m.contract('InferenceVerifier', [settlement, registry])
  const bounty = m.contract('FixedPromptBounty', [settlement, registry, token])
  return { timelock, registry, vault, settlement, inference, bounty }
})

export default Sealpath
