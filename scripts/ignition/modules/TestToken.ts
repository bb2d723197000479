/** A token for local chains, where there is no OPG. @module */
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'
import type { IgnitionModule, NamedArtifactContractDeploymentFuture } from '@nomicfoundation/ignition-core'

type TokenContracts = { token: NamedArtifactContractDeploymentFuture<'TestOPG'> }

const TestToken: IgnitionModule<'TestToken', string, TokenContracts> = buildModule('TestToken', (m) => ({
  token: m.contract('TestOPG'),
}))

export default TestToken
