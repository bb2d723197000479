/** Files stay short enough to be read at once. Those that are longer are named here, with why: a new one needs a reason, and one that became short loses its. @module */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const LINES_MAX = 400

const ONE_AUDIT =
  'one contract with one storage: an auditor reads it in one piece, and a base contract would only hide half of its state'
const ONE_STAGE = 'one stage that is dear to build, and every case on it'
const ONE_SUBJECT = 'every rule of one subject, a case each'

const REASONS: Readonly<Record<string, string>> = {
  'contracts/ReceiptSettlement.sol': ONE_AUDIT,
  'contracts/EnclaveRegistry.sol': ONE_AUDIT,
  'gateway/backends/openai.test.ts': ONE_SUBJECT,
  'offchain/explorer/explorer.css': 'one style sheet, loaded once, in the order of the page',
  'offchain/node/sealing/sealedServer.test.ts': ONE_SUBJECT,
  'offchain/operator/agent.test.ts': ONE_STAGE,
  'test/contracts/CreditDeposits.t.sol': ONE_SUBJECT,
  'test/contracts/CreditExits.t.sol': ONE_SUBJECT,
  'test/contracts/EnclaveRegistry.t.sol': ONE_SUBJECT,
  'test/contracts/ExamplesMarket.t.sol': ONE_SUBJECT,
  'test/contracts/utils/Stage.sol': ONE_STAGE,
  'test/e2e/audit.test.ts': ONE_STAGE,
  'test/e2e/deploy.test.ts': ONE_STAGE,
  'test/e2e/explorer.test.ts': ONE_STAGE,
  'test/integration/aggregator.test.ts': ONE_STAGE,
  'test/integration/aggregatorClearings.test.ts': ONE_STAGE,
  'test/services/aggregatorProofs.test.ts': ONE_STAGE,
  'test/services/issuerFaults.test.ts': ONE_STAGE,
  'test/services/issuerHandover.test.ts': ONE_STAGE,
  'test/simulation/auditor.ts': 'a judge written apart from what it judges: one list of what must hold',
  'test/simulation/storeScript.ts': 'one list of what may be done to a store, each with what it expects',
}

it(`has no file of more than ${LINES_MAX} lines without a reason, and no reason without such a file`, () => {
  const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  const long = tracked.split('\n').filter(isLong).toSorted()
  expect(long).toEqual(Object.keys(REASONS).toSorted())
})

function isLong(path: string): boolean {
  if (!/\.(ts|tsx|mts|sol|css|js|html)$/.test(path) || path.includes('/generated/')) return false
  // Deleted and not committed yet.
  if (!existsSync(`${ROOT}${path}`)) return false
  const text = readFileSync(`${ROOT}${path}`, 'utf8')
  return !text.startsWith('// SPDX-License-Identifier: MIT\n// Generated') && text.split('\n').length - 1 > LINES_MAX
}
