/** How much a writer has under way at most. What it does with it, with a database and witnesses: test/services/issuerFaults.test.ts. @module */
import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createLogger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { IssuerStore } from './store.ts'
import { Writer } from './writer.ts'

const KEYSET: Hex = `0x${'aa'.repeat(32)}`
const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const SETTLEMENT: Hex = `0x${'5e'.repeat(20)}`
const depositId = (i: number): Hex => `0x${i.toString(16).padStart(64, '0')}`

it('has 4,096 entries under way and begins no further one', async () => {
  const begun: Hex[] = []
  const refused: string[] = []
  const writer = new Writer({
    enclave: ENCLAVE,
    privateKey: new Uint8Array(32).fill(1),
    domain: { chainId: 31_337, settlement: SETTLEMENT },
    // Nobody acknowledges anything, so nothing is read.
    store: {} as IssuerStore,
    log: { log: 1, commit: async () => {} },
    ledgers: new Map(),
    witnessing: { witnesses: [], quorum: 1 },
    logger: createLogger('issuer', () => {}),
  })
  const submit = (i: number): Promise<unknown> =>
    writer
      .submit(KEYSET, (ledger) => ledger.decideIssue({ deposit: depositId(i), outputs: depositId(i), units: 1n }), {
        onAppend: () => begun.push(depositId(i)),
      })
      .catch((error: Error) => refused.push(error.message))
  const answers = Array.from({ length: 4_096 }, (_, i) => submit(i))
  await setImmediate()
  expect([begun.length, refused]).toEqual([4_096, []])
  answers.push(submit(4_096))
  await setImmediate()
  expect([begun.length, refused]).toEqual([4_096, [expect.stringContaining('lag behind')]])
  await writer.close()
  await Promise.all(answers)
})
