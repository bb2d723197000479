/** An operator that leaves: its enclaves retired, their bonds freed, by command and by the agent that does it unasked. @module */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLogger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'
import { toJson } from '#protocol/wire/json.ts'
import { bond } from '../../offchain/cli/commands/bond.ts'
import { earnings } from '../../offchain/cli/commands/earnings.ts'
import { Payouts } from '../../offchain/operator/payouts.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../support/chain.ts'
import { runCommand } from '../support/runCommand.ts'

const FOURTEEN_DAYS = 14 * 86_400
const folder = mkdtempSync(join(tmpdir(), 'sealpath-leaving-'))
let chain: LocalChain
let first: Hex
let second: Hex

beforeAll(async () => {
  chain = await deployLocal({ node: 'anvil' })
  writeFileSync(join(folder, 'deployment.json'), toJson(chain.addresses))
  for (const name of ['operator', 'settler'] as const) writeFileSync(join(folder, `${name}.key`), chain.keyOf(name))
  first = (await registerTestEnclave(chain, new Uint8Array(32).fill(7))).enclave
  second = (await registerTestEnclave(chain, new Uint8Array(32).fill(8))).enclave
})
afterAll(async () => {
  await chain?.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What a command says as the holder of a key; throws what it throws. */
async function run(
  command: typeof bond,
  args: readonly string[],
  who: 'operator' | 'settler' = 'operator',
): Promise<string> {
  const at = ['--deployment', join(folder, 'deployment.json'), '--rpc', chain.rpcUrl]
  const { code, said } = await runCommand(command, [...args, ...at, '--key-file', join(folder, `${who}.key`)])
  expect(code).toBe(0)
  return said
}

async function pass(seconds: number): Promise<void> {
  await chain.control.increaseTime({ seconds })
  await chain.control.mine({ blocks: 1 })
}

it('ends an enclave at its operator’s word alone, and holds its bond for fourteen days', async () => {
  await expect(run(earnings, ['retire', first], 'settler')).rejects.toThrow(/only the operator of this enclave may/)
  expect(await run(earnings, ['retire', first])).toMatch(/is retired, transaction 0x/i)
  await expect(run(earnings, ['retire', first])).rejects.toThrow()
  await expect(run(earnings, ['retire', 'nobody'])).rejects.toThrow(/ENCLAVE/)
  expect(await run(earnings, ['withdraw'])).toBe('')
  await pass(FOURTEEN_DAYS - 60)
  expect(await run(earnings, ['withdraw'])).toBe('')
  await pass(60)
  expect(await run(earnings, ['withdraw'])).toMatch(
    new RegExp(`^released: the bond of .* of ${first}, transaction 0x`, 'i'),
  )
  expect(await run(earnings, ['withdraw'])).toBe('')
})

it('an agent frees by itself what can be freed, once', async () => {
  await run(earnings, ['retire', second]).catch((error: unknown) => {
    // Two weeks are longer than a registration: it may have ended by itself.
    expect(String(error)).toMatch(/RegistryEnclaveEnded|ended/)
  })
  await pass(FOURTEEN_DAYS)
  const lines: string[] = []
  const payouts = new Payouts({
    access: { client: chain.client, wallet: chain.wallet('operator'), registry: chain.addresses.registry },
    log: createLogger('operator', (line) => lines.push(line)),
    fromBlock: 0n,
    unitsMin: 1n,
    pollMs: 100,
  })
  payouts.start()
  await waitFor('the bond', async () => lines.some((line) => line.includes('release-bond')), 20_000)
  await payouts.close()
  const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(entries.filter(({ event }) => event === 'payout')).toHaveLength(1)
  expect((await payouts.read()).bond.locked).toBe(0n)
})

it('takes back what is free, and only that', async () => {
  const tooMuch = run(bond, ['withdraw', '1000'])
  await expect(tooMuch).rejects.toThrow()
  expect(await run(bond, ['withdraw'])).toMatch(/^took back .* OPG, transaction 0x/)
  await expect(run(bond, ['withdraw'])).rejects.toThrow(/^nothing of the bond/)
  expect(await run(bond, ['show'])).toMatch(/^deposited 0 OPG, locked 0 OPG, free 0 OPG/)
})
