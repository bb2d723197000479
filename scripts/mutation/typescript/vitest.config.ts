/** For Stryker: the unit tests that stand nearest to what is mutated. Those of relays, pages and the command line would notice little more. @module */
import { defineConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['offchain/{protocol,chain,issuer}/**/*.test.ts', 'offchain/sdk/wallet/**/*.test.ts'],
    // Of what is not mutated.
    exclude: ['offchain/protocol/sealing/**', '**/p384Hints.test.ts'],
    testTimeout: 60_000,
  },
})

export default config
