/** `sealpath keyset propose` and `execute`: a keyset opens as its enclave signed it, or not at all. @module */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { type Hex, joinBytes, toBase64 } from '#protocol/bytes.ts'
import { signKeysetOffer } from '#protocol/credits/keysetOffer.ts'
import { encodeEip2537G2 } from '#protocol/credits/points.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { toJson } from '#protocol/wire/json.ts'
import { keyset } from '../../offchain/cli/commands/keyset.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../support/chain.ts'
import { makeTestKeyset, type TestKeyset } from '../support/credits.ts'
import { runCommand } from '../support/runCommand.ts'

const ISSUER_KEY = new Uint8Array(32).fill(0x71)
const folder = mkdtempSync(join(tmpdir(), 'sealpath-keyset-'))
let chain: LocalChain
let issuer: Hex
let made: TestKeyset

beforeAll(async () => {
  chain = await deployLocal({ node: 'anvil' })
  writeFileSync(join(folder, 'deployment.json'), toJson(chain.addresses))
  writeFileSync(join(folder, 'owner.key'), chain.keyOf('deployer'))
  issuer = (await registerTestEnclave(chain, ISSUER_KEY, { role: ENCLAVE_ROLE.issuer })).enclave
  made = await makeTestKeyset(chain)
})
afterAll(async () => {
  await chain?.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What an issuer's host would hand over, signed by `privateKey` for `writer`. */
function fileOf(writer: Hex, privateKey: Uint8Array) {
  const { signUntil, spendUntil, exitUntil, keys } = made.keyset
  const { chainId, vault } = chain.addresses
  const entry = {
    keyset: made.id,
    keys: toBase64(joinBytes(keys.map(encodeEip2537G2))),
    signUntil,
    spendUntil,
    exitUntil,
    signature: signKeysetOffer({ keyset: made.id, writer }, { chainId, vault }, privateKey),
  }
  return { format: 'sealpath-keysets/1', writer, vault, keysets: [entry] }
}

async function run(action: 'propose' | 'execute', file: unknown): Promise<string> {
  const path = join(folder, 'keyset.json')
  writeFileSync(path, toJson(file))
  const at = ['--deployment', join(folder, 'deployment.json'), '--rpc', chain.rpcUrl]
  const args = [action, '--file', path, ...at, '--key-file', join(folder, 'owner.key')]
  const { code, said } = await runCommand(keyset, args)
  expect(code).toBe(0)
  return said
}

const isOpen = async (): Promise<boolean> => {
  const vault = { address: chain.addresses.vault, abi: creditVaultAbi } as const
  return (await chain.client.readContract({ ...vault, functionName: 'keysetOf', args: [made.id] })).number !== 0
}

it('refuses keys, times or a writer that somebody changed on the way', async () => {
  const good = fileOf(issuer, ISSUER_KEY)
  const [entry] = good.keysets
  if (entry === undefined) throw new Error('expected a keyset')
  const other = (await makeTestKeyset(chain, 'of the host')).keyset.keys.map(encodeEip2537G2)
  const changed = (change: object) => ({ ...good, keysets: [{ ...entry, ...change }] })
  await expect(run('propose', changed({ keys: toBase64(joinBytes(other)) }))).rejects.toThrow()
  await expect(run('propose', changed({ exitUntil: entry.exitUntil + 1 }))).rejects.toThrow()
  await expect(run('propose', fileOf(issuer, new Uint8Array(32).fill(0x72)))).rejects.toThrow(/did not sign the keyset/)
  await expect(run('propose', { ...good, writer: `0x${'22'.repeat(20)}` })).rejects.toThrow(/calls no issuer .* active/)
  await expect(run('propose', { ...good, vault: `0x${'22'.repeat(20)}` })).rejects.toThrow(/are for the vault/)
  await expect(run('execute', good)).rejects.toThrow(/nobody has proposed/)
  expect(await isOpen()).toBe(false)
})

it('proposes and opens what the enclave signed, once', async () => {
  const good = fileOf(issuer, ISSUER_KEY)
  expect(await run('propose', good)).toContain(`done: propose the keyset ${made.id}`)
  await expect(run('propose', good)).rejects.toThrow(/is proposed or open already/)
  expect(await run('execute', good)).toContain(`done: open the keyset ${made.id}`)
  expect(await isOpen()).toBe(true)
  await expect(run('execute', good)).rejects.toThrow(/is open already/)
})
