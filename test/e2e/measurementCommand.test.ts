/** `sealpath measurement` where one account is proposer and guardian and nothing waits, with an enclave that runs what is revoked. @module */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readLiveEnclaves } from '#chain/registry.ts'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { toJson } from '#protocol/wire/json.ts'
import { deploy } from '../../offchain/cli/commands/deploy.ts'
import { measurement } from '../../offchain/cli/commands/measurement.ts'
import { deployLocal, type LocalChain, registerTestEnclave, TEST_MEASUREMENT } from '../support/chain.ts'
import { runCommand } from '../support/runCommand.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-measurement-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('sealpath measurement', () => {
  let chain: LocalChain

  beforeAll(async () => {
    chain = await deployLocal({ node: 'anvil' })
    writeFileSync(join(folder, 'local.json'), toJson(chain.addresses))
    writeFileSync(join(folder, 'deployer.key'), chain.keyOf('deployer'))
  })
  afterAll(() => chain.close())

  const at = () => ['--deployment', join(folder, 'local.json'), '--rpc', chain.rpcUrl]
  const subject = ['--role', 'gateway', '--measurement', TEST_MEASUREMENT]
  const sent = ['--key-file', join(folder, 'deployer.key')]
  /** What it says; throws what it throws. */
  const say = async (action: string, ...args: string[]): Promise<string> => {
    const { code, said } = await runCommand(measurement, [action, ...args, ...at()])
    expect(code).toBe(0)
    return said
  }
  const live = () => readLiveEnclaves(chain.client, chain.addresses.registry, ENCLAVE_ROLE.gateway)

  it('approves an image and ends it with its enclaves, each step by whoever may', async () => {
    await expect(say('execute', ...subject)).rejects.toThrow(/^nobody has proposed gateway measurement 0x4d/)
    expect(await say('propose', ...subject, ...sent)).toMatch(/done: propose gateway measurement 0x4d/)
    expect(await say('show')).toMatch(/anyone can execute it now\n.*approveMeasurement\(1, 0x4d/)
    await expect(say('propose', ...subject)).rejects.toThrow(/is proposed already/)
    await say('execute', ...subject, ...sent)
    await expect(say('propose', ...subject)).rejects.toThrow(/is approved already/)
    const { enclave } = await registerTestEnclave(chain, new Uint8Array(32).fill(7))
    expect(await live()).toMatchObject([{ enclave }])
    expect(await say('show', ...subject)).toContain(': approved, 1 live enclaves')
    await expect(say('invalidate', ...subject, ...sent)).rejects.toThrow(/the guardian has to revoke it first/)

    expect(await say('revoke', ...subject, ...sent)).toContain('sealpath measurement invalidate ends what still runs')
    expect(await live()).toMatchObject([{ enclave }])
    expect(await say('invalidate', ...subject, ...sent)).toContain('done: end 1 enclaves')
    expect(await live()).toEqual([])
    await expect(say('invalidate', ...subject, ...sent)).rejects.toThrow(/no live enclave/)
    await expect(say('revoke', ...subject)).rejects.toThrow(/is not approved/)
  })

  it('warns of a proposal that would approve a revoked image again, and takes it back', async () => {
    await say('propose', ...subject, ...sent)
    const waits = await say('show')
    const id = /proposal (0x[0-9a-f]{64})/.exec(waits)?.[1] ?? ''
    const out = join(folder, 'local-revoke.json')
    expect(await say('revoke', ...subject, '--out', out)).toContain(`The proposal ${id} would approve it again`)
    expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject({
      version: '1.0',
      chainId: '31337',
      transactions: [{ to: chain.addresses.registry, value: '0', contractMethod: null }],
    })
    await say('cancel', '--operation', id, ...sent)
    expect(await say('show')).toBe('no proposal waits\n')
    await expect(say('cancel', ...subject)).rejects.toThrow(/nobody has proposed/)
    // What was taken back can be proposed anew.
    const batch = JSON.parse(await say('propose', ...subject)) as { transactions: { to: Hex }[] }
    expect(batch.transactions[0]?.to).toBe(chain.addresses.timelock)
  })

  it('does not repeat the address of an endpoint that fails, which may hold a key', async () => {
    const failing = ['--deployment', join(folder, 'local.json'), '--rpc', 'http://127.0.0.1:1/secret']
    for (const action of ['show', 'revoke']) {
      const error = await measurement.run([action, ...subject, ...failing]).catch((reason: Error) => reason)
      expect(String(error)).toMatch(/RPC endpoint/)
      expect(String(error)).not.toContain('secret')
    }
    const check = await deploy.run(['--check', ...failing]).catch((reason: Error) => reason)
    expect(String(check)).toMatch(/RPC endpoint/)
    expect(String(check)).not.toContain('secret')
  })

  it('refuses PCRs that do not make the measurement beside them', async () => {
    const file = join(folder, 'lie.json')
    const pcr = `0x${'01'.repeat(48)}`
    writeFileSync(file, JSON.stringify({ measurement: TEST_MEASUREMENT, pcrs: { 0: pcr, 1: pcr, 2: pcr } }))
    await expect(say('propose', '--role', 'gateway', '--pcrs', file)).rejects.toThrow(/contradicts itself/)
  })
})
