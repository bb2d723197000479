import { fileURLToPath } from 'node:url'
import hardhatEthers from '@nomicfoundation/hardhat-ethers'
import hardhatIgnitionViem from '@nomicfoundation/hardhat-ignition-viem'
import hardhatViem from '@nomicfoundation/hardhat-viem'
import { defineConfig, type HardhatUserConfig } from 'hardhat/config'

/** The compiler is the npm package `solc`: nothing is downloaded at build or test time. */
const compilerPath = fileURLToPath(import.meta.resolve('solc/soljson.js'))

const config: HardhatUserConfig = defineConfig({
  plugins: [hardhatViem, hardhatEthers, hardhatIgnitionViem],
  solidity: {
    profiles: {
      default: {
        version: '0.8.37',
        path: compilerPath,
        settings: { evmVersion: 'osaka', viaIR: true, optimizer: { enabled: true, runs: 10_000 } },
      },
    },
  },
  paths: {
    sources: ['contracts', 'test/contracts/support'],
    tests: { solidity: 'test/contracts' },
    // Ignition keeps the journal of each chain's deployment here; a throw-away chain brings a throw-away folder.
    ignition: process.env.SEALPATH_IGNITION_FOLDER ?? 'scripts/ignition',
  },
  networks: {
    default: { type: 'edr-simulated', chainType: 'l1', hardfork: 'osaka' },
    localhost: { type: 'http', chainType: 'l1', url: process.env.SEALPATH_RPC_URL ?? 'http://127.0.0.1:8545' },
  },
})

export default config
