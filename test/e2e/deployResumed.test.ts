/** A deployment to Base that is killed twice in the middle; and what it says when it cannot begin. @module */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getContractAddress } from 'viem'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { readDeployment } from '#chain/deployment.ts'
import { checkDeployment } from '#chain/deploymentCheck.ts'
import {
  type DeployStage,
  deployer,
  keyOf,
  protocol,
  readJournalAddresses,
  runCommand,
  startDeployStage,
  TRANSACTIONS,
} from '../support/deployStage.ts'
import { startRpcGate } from '../support/rpcGate.ts'

/** What `sealpath deploy` starts. */
const SCRIPT = `"${process.execPath}" --disable-warning=ExperimentalWarning scripts/deploy.ts`
const OPG_ON_BASE = '0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-resume-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a deployment to Base', () => {
  const out = join(folder, 'base/deployment.json')
  const ignition = join(folder, 'base-ignition')
  const journal = join(ignition, 'deployments/chain-8453')
  let stage: DeployStage

  beforeAll(async () => {
    stage = await startDeployStage(8_453, [OPG_ON_BASE])
  })
  afterAll(() => stage.node.close())

  it('finishes with the same addresses and nothing twice after it was killed in the middle, also between sending and noting', async () => {
    const { client, node, proposer, guardian } = stage
    // Another of the deployer's transactions goes before: nonces and blocks do not begin at zero.
    await node.request('anvil_setNonce', [deployer.address, '0x7'])
    const gate = await startRpcGate(node.rpcUrl)
    onTestFinished(() => gate.close())
    const env = {
      CI: 'true',
      SEALPATH_BASE_RPC_URL: gate.url,
      SEALPATH_DEPLOYER_KEY: keyOf(deployer),
      SEALPATH_IGNITION_FOLDER: ignition,
    }
    const command = `${SCRIPT} --network base --proposer ${proposer.address} --guardian ${guardian.address} --protocol ${protocol.address} --out "${out}"`
    const killedAt = async (method: string, count: number): Promise<Record<string, string>> => {
      let seen = 0
      const hold = gate.hold({ method, part: 'response', of: () => ++seen === count })
      let kill = () => {}
      const ended = runCommand(command, { home: folder, env, onStart: (end) => (kill = end) })
      await Promise.race([hold.arrived, ended.then(({ stderr }) => Promise.reject(new Error(stderr)))])
      kill()
      hold.drop()
      await ended
      expect(existsSync(out)).toBe(false)
      return readJournalAddresses(journal)
    }
    // The node has the fourth transaction, and nobody noted its hash.
    const first = await killedAt('eth_sendRawTransaction', 4)
    expect(Object.keys(first).length).toBeGreaterThan(0)
    // Noted, and not known to be mined.
    const second = await killedAt('eth_getTransactionReceipt', 2)
    expect(second).toMatchObject(first)

    const { code, stderr } = await runCommand(command, { home: folder, env })
    expect(stderr).toContain('going on where')
    expect(code, stderr).toBe(0)
    expect(readJournalAddresses(journal)).toMatchObject(second)
    expect(await client.getTransactionCount({ address: deployer.address })).toBe(7 + TRANSACTIONS)
    const deployment = readDeployment(out)
    expect(deployment.token).toBe(OPG_ON_BASE.toLowerCase())
    expect((await checkDeployment(client, deployment)).filter(({ isOk }) => !isOk)).toEqual([])
    const before = await client.getTransactionCount({
      address: deployer.address,
      blockNumber: deployment.fromBlock - 1n,
    })
    const after = await client.getTransactionCount({ address: deployer.address, blockNumber: deployment.fromBlock })
    expect([before, after]).toEqual([7, 8])
    expect(Object.values(readJournalAddresses(journal)).map((address) => address.toLowerCase())).toContain(
      getContractAddress({ from: deployer.address, nonce: 7n }).toLowerCase(),
    )
    // Once more changes nothing.
    const again = await runCommand(command, { home: folder, env })
    expect(again.code, again.stderr).toBe(0)
    expect(readDeployment(out)).toEqual(deployment)
    expect(await client.getTransactionCount({ address: deployer.address })).toBe(7 + TRANSACTIONS)
  }, 180_000)

  it('says which setting is missing, and when the endpoint is of another chain', async () => {
    const command = `${SCRIPT} --network baseSepolia --protocol ${protocol.address}`
    const env = { CI: 'true', SEALPATH_IGNITION_FOLDER: ignition }
    const [missing, other] = await Promise.all([
      runCommand(command, { home: folder, env }),
      runCommand(command, { home: folder, env: { ...env, SEALPATH_BASE_SEPOLIA_RPC_URL: stage.node.rpcUrl } }),
    ])
    expect(missing).toMatchObject({ code: 1, stdout: '' })
    expect(missing.stderr).toMatch(
      /^Error: SEALPATH_BASE_SEPOLIA_RPC_URL is not set: keep it in the encrypted keystore [^\n]*\n$/,
    )
    expect(other).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'Error: network baseSepolia is chain 84532, but the endpoint of SEALPATH_BASE_SEPOLIA_RPC_URL serves chain 8453: nothing was sent\n',
    })
  })
})
