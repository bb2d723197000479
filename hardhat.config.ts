import { fileURLToPath } from 'node:url'
import hardhatEthers from '@nomicfoundation/hardhat-ethers'
import hardhatIgnitionViem from '@nomicfoundation/hardhat-ignition-viem'
import hardhatKeystore from '@nomicfoundation/hardhat-keystore'
import hardhatViem from '@nomicfoundation/hardhat-viem'
import { configVariable, defineConfig, type HardhatUserConfig } from 'hardhat/config'

/** The compiler is the npm package `solc`: nothing is downloaded at build or test time. */
const compilerPath = fileURLToPath(import.meta.resolve('solc/soljson.js'))

/** What fuzzed tests draw from: the same in every run. */
const FUZZ_SEED = '0x5ea19a7b'

/** Tests deploy compiled artifacts and read shared vectors. The gas limit turns an endless loop into a failure. */
const solidityTests = {
  fsPermissions: { readDirectory: ['artifacts', 'test/vectors'] },
  gasLimit: 4_000_000_000n,
}

/** Handlers never revert, so a revert is a finding. */
const invariants = { failOnRevert: true }

function compiler(settings: Record<string, unknown>): {
  version: string
  path: string
  settings: Record<string, unknown>
} {
  return { version: '0.8.37', path: compilerPath, settings: { evmVersion: 'osaka', ...settings } }
}

const config: HardhatUserConfig = defineConfig({
  plugins: [hardhatViem, hardhatEthers, hardhatIgnitionViem, hardhatKeystore],
  solidity: {
    // Deployed as it is published: the owner of our contracts.
    npmFilesToBuild: ['@openzeppelin/contracts/governance/TimelockController.sol'],
    profiles: {
      default: compiler({ viaIR: true, optimizer: { enabled: true, runs: 10_000 } }),
      // What only tests run, which deploy what the profile above has made: a sixth of the time.
      tests: compiler({ viaIR: false, optimizer: { enabled: false } }),
    },
  },
  paths: {
    sources: ['contracts', 'test/contracts/support'],
    tests: { solidity: 'test/contracts' },
    // Ignition keeps the journal of each chain's deployment here; a throw-away chain brings a throw-away folder.
    ignition: process.env.SEALPATH_IGNITION_FOLDER ?? 'scripts/ignition',
  },
  test: {
    solidity: {
      profiles: {
        default: {
          ...solidityTests,
          fuzz: { runs: 256, seed: FUZZ_SEED },
          invariant: { ...invariants, runs: 32, depth: 100 },
        },
        // `hardhat test solidity --test-profile night`
        night: {
          ...solidityTests,
          fuzz: { runs: 10_000, seed: FUZZ_SEED },
          invariant: { ...invariants, runs: 500, depth: 300 },
        },
      },
    },
  },
  networks: {
    default: { type: 'edr-simulated', chainType: 'l1', hardfork: 'osaka' },
    localhost: { type: 'http', chainType: 'l1', url: process.env.SEALPATH_RPC_URL ?? 'http://127.0.0.1:8545' },
    // Endpoints may hold a key, and keys are keys: both come from the encrypted keystore (`hardhat keystore set NAME`) or the environment.
    baseSepolia: {
      type: 'http',
      chainType: 'op',
      url: configVariable('SEALPATH_BASE_SEPOLIA_RPC_URL'),
      accounts: [configVariable('SEALPATH_DEPLOYER_KEY')],
    },
    base: {
      type: 'http',
      chainType: 'op',
      url: configVariable('SEALPATH_BASE_RPC_URL'),
      accounts: [configVariable('SEALPATH_DEPLOYER_KEY')],
    },
  },
})

export default config
