/**
 * Hardhat's node for local networks and tests: rules of Osaka, and nothing compiled. With our artifacts it would read all that the compiler ever said,
 * for stack traces that nobody sees, four seconds at every start.
 * @module
 */
import { defineConfig, type HardhatUserConfig } from 'hardhat/config'

const config: HardhatUserConfig = defineConfig({
  paths: { sources: 'cache/chain/none', artifacts: 'cache/chain/artifacts', cache: 'cache/chain/cache' },
  networks: { default: { type: 'edr-simulated', chainType: 'l1', hardfork: 'osaka' } },
})

export default config
