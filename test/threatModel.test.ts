/** THREAT_MODEL.md and the tests, held against each other: every claim has its test, and every test of an attack has its claim. @module */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const DOCUMENT = readFileSync(`${ROOT}THREAT_MODEL.md`, 'utf8')

type Claim = { readonly id: string; readonly file: string; readonly title: string | undefined }

/** Rows like: id, sentence, `file` › title. */
const CLAIMS: readonly Claim[] = [
  ...DOCUMENT.matchAll(/^\| ([A-Z]\d+) \| [^|]+ \| `([^`]+)`(?: › ([^|]+?))? \|$/gm),
].map(([, id = '', file = '', title]) => ({ id, file, title }))

/** Files whose subject is what somebody could do to others. */
const ATTACKS: readonly string[] = [
  'test/e2e/unlinkability.test.ts',
  'test/e2e/creditFaults.test.ts',
  'test/e2e/aggregatorKills.test.ts',
  'test/e2e/storms.test.ts',
  'test/services/issuer.test.ts',
  'test/services/wireShape.test.ts',
  'test/services/traceClassifier.test.ts',
  'test/services/aggregatorIngest.test.ts',
  'offchain/sdk/receiptCheck.test.ts',
  ...readdirSync(`${ROOT}test/contracts`)
    .filter((name) =>
      /^(Equivocation|Money|SystemMoney|CreditMoney|CreditExits|CreditDeposits|CreditOddTokens|OperatorBonds|EnclaveRegistry|InferenceProofs|SettleHeads)\.t\.sol$/.test(
        name,
      ),
    )
    .map((name) => `test/contracts/${name}`),
]

it('names every claim once', () => {
  expect(CLAIMS.length).toBeGreaterThan(40)
  expect(new Set(CLAIMS.map(({ id }) => id)).size).toBe(CLAIMS.length)
  // A row that the pattern does not read would go unchecked.
  expect(CLAIMS.length).toBe([...DOCUMENT.matchAll(/^\| [A-Z]\d+ \|/gm)].length)
})

it.each(CLAIMS)('$id has its test: $file, $title', ({ file, title }) => {
  const source = readFileSync(`${ROOT}${file}`, 'utf8')
  if (title === undefined) return expect(source).toMatch(/\b(it|test)(\.|\()/)
  // A title may be cut short where the test puts in a value.
  expect(source).toContain(title)
})

it.each(ATTACKS)('%s is named by a claim', (file) => {
  expect(CLAIMS.map((claim) => claim.file)).toContain(file)
})
