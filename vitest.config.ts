import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** `unit` lives beside the files; `integration` needs a chain, a database or two roles; `night` is the long tier. */
const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['offchain/**/*.test.ts', 'gateway/**/*.test.ts', 'scripts/**/*.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Much of it waits: two files at once, each on ports of its own.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'night',
          include: ['test/**/*.night.ts'],
          testTimeout: 3_600_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
})

export default config
