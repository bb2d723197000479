/** A token for local chains, where there is no OPG. @module */
import { buildModule } from '@nomicfoundation/hardhat-ignition/modules'

const TestToken: ReturnType<typeof buildModule> = buildModule('TestToken', (m) => ({ token: m.contract('TestOPG') }))

export default TestToken
