import { defineConfig, type ViteUserConfig } from 'vitest/config'

/**
 * `unit` lives beside the files; `services` needs a database or several roles; `integration` needs compiled contracts too; `faults` kills
 * processes and databases at exact points, one after the other; `night` is the long tier.
 */
const FAULTS = ['test/e2e/creditFaults.test.ts', 'test/e2e/aggregatorKills.test.ts']

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['offchain/**/*.test.ts', 'gateway/**/*.test.ts', 'scripts/**/*.test.ts'],
          // As of all of them: what hangs fails, what is slow on a busy machine does not.
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'services',
          include: ['test/services/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          exclude: ['test/services/**', ...FAULTS],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Much of it waits: three files at once for two cores, each on ports of its own.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'faults',
          include: FAULTS,
          testTimeout: 120_000,
          hookTimeout: 240_000,
          fileParallelism: false,
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
