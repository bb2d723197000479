/** docs/deploy.md as a person follows it, command by command, on an independent node with the chain id of Base Sepolia. @module */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Contract, Interface, JsonRpcProvider } from 'ethers'
import { createPublicClient, encodeFunctionData, http, type PublicClient } from 'viem'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { checkDeployment } from '#chain/deploymentCheck.ts'
import { enclaveRegistryAbi, timelockControllerAbi } from '#chain/generated/abis.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { DeployOptions } from '../../scripts/deploy/options.ts'
import { planDeployment } from '../../scripts/deploy/preflight.ts'
import type { Target } from '../../scripts/deploy/target.ts'
import { hardhatCli } from '../../scripts/local/contracts.ts'
import { startAnvil } from '../support/anvil.ts'
import {
  accountOf,
  CONTRACTS,
  type DeployStage,
  deployer,
  guardianOwners,
  keyOf,
  proposerOwners,
  protocol,
  REPOSITORY,
  runCommand,
  startDeployStage,
  stranger,
  TRANSACTIONS,
} from '../support/deployStage.ts'
import { type DocumentCommand, readCommands } from '../support/documentCommands.ts'
import { SAMPLE, writeImage } from '../support/enclaveImage.ts'
import type { Safe } from '../support/safe.ts'

const DOCUMENT = readFileSync(join(REPOSITORY, 'docs/deploy.md'), 'utf8')
const OPG_ON_BASE = '0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB'
const SOME_TOKEN = `0x${'70'.repeat(20)}` as const
const OTHER_TOKEN = `0x${'71'.repeat(20)}` as const
const TRANSACTION_GAS_MAX = 16_777_216n
const TWO_DAYS_SECONDS = 2 * 86_400
const PASSWORD = 'a password for tests'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-deploy-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('docs/deploy.md', () => {
  const out = join(folder, 'base-sepolia')
  const env: Record<string, string> = { SEALPATH_IGNITION_FOLDER: join(folder, 'ignition') }
  let stage: DeployStage
  let proposer: Safe
  let guardian: Safe
  let deployment: Deployment

  const image = join(folder, 'gateway.eif')
  const keyFile = join(folder, 'anyone.key')
  const { kernel, cmdline, metadata, boot, code, model } = SAMPLE

  beforeAll(async () => {
    stage = await startDeployStage(84_532, [SOME_TOKEN, OTHER_TOKEN])
    ;({ proposer, guardian } = stage)
    mkdirSync(out, { recursive: true })
    writeFileSync(image, writeImage([kernel, cmdline, metadata, boot, code, model]))
    writeFileSync(keyFile, `${keyOf(stranger)}\n`)
  })
  afterAll(() => stage.node.close())

  /** What a reader puts in the place of what the document names. */
  const exported = (name: string): string => {
    const values: Record<string, string> = {
      PROPOSER: proposer.address,
      GUARDIAN: guardian.address,
      PROTOCOL: protocol.address,
      OPG: SOME_TOKEN,
      FOLDER: out,
      RPC: stage.node.rpcUrl,
      IMAGE: image,
      KEY_FILE: keyFile,
    }
    const value = values[name]
    if (value === undefined) throw new Error(`docs/deploy.md exports ${name}, which this test has no value for`)
    return value
  }

  /** What a reader types where a command asks. */
  const answersTo = (command: string): string[] => {
    if (command.endsWith('set SEALPATH_BASE_SEPOLIA_RPC_URL')) return [PASSWORD, PASSWORD, stage.node.rpcUrl]
    if (command.endsWith('set SEALPATH_DEPLOYER_KEY')) return [PASSWORD, keyOf(deployer)]
    return command.includes('deploy --network') ? [PASSWORD] : []
  }

  /** What people do after a command, away from the terminal. */
  const afterwards = async (command: string): Promise<void> => {
    const { node } = stage
    if (command.includes('measurement propose')) {
      const batch = readFileSync(join(out, 'propose.json'), 'utf8')
      await expect(proposer.execute(batch, proposerOwners.slice(0, 1))).rejects.toThrow(/GS020/)
      await expect(proposer.execute(batch, guardianOwners.slice(0, 2))).rejects.toThrow(/GS026/)
      await proposer.execute(batch, proposerOwners.slice(1))
    }
    if (command.includes('measurement show')) {
      await node.request('evm_increaseTime', [TWO_DAYS_SECONDS])
      await node.request('evm_mine', [])
    }
    if (command.includes('measurement execute')) expect(await isApproved()).toBe(true)
    if (command.includes('measurement revoke')) {
      await guardian.execute(readFileSync(join(out, 'revoke.json'), 'utf8'), guardianOwners.slice(0, 2))
      expect(await isApproved()).toBe(false)
    }
  }

  const isApproved = (): Promise<boolean> => {
    const { pcrs } = JSON.parse(readFileSync(join(out, 'gateway.measured.json'), 'utf8')) as {
      pcrs: Record<string, Hex>
    }
    const pcr = (index: number) => fromHex(pcrs[index] ?? '0x')
    return stage.client.readContract({
      address: deployment.registry,
      abi: enclaveRegistryAbi,
      functionName: 'isApproved',
      args: [ENCLAVE_ROLE.gateway, measurementOf('nitro', pcr(0), pcr(1), pcr(2))],
    })
  }

  const follow = async ({ line, text }: DocumentCommand): Promise<string> => {
    const assignment = /^export (\w+)=/.exec(text)
    if (assignment !== null) {
      env[assignment[1] ?? ''] = exported(assignment[1] ?? '')
      return ''
    }
    // Done already, or the whole suite would not run.
    if (text === 'npm ci') return ''
    const command = text
      .replace(/^npx node /, `"${process.execPath}" --disable-warning=ExperimentalWarning `)
      .replace(/^npx hardhat /, `"${process.execPath}" "${hardhatCli()}" `)
    const {
      code: status,
      stdout,
      stderr,
    } = await runCommand(command, {
      home: folder,
      env,
      answers: answersTo(text),
    })
    expect(status, `docs/deploy.md:${line}: ${text}\n${stdout}${stderr}`).toBe(0)
    if (text.includes('deploy --network')) deployment = readDeployment(join(out, 'deployment.json'))
    await afterwards(text)
    return `${stdout}${stderr}`
  }

  it('holds when it is followed command by command, with two multisigs in power', async () => {
    const commands = readCommands(DOCUMENT)
    expect(commands.length).toBeGreaterThan(15)
    const said = new Map<string, string>()
    for (const command of commands) said.set(command.text, await follow(command))
    const saidBy = (part: string) => [...said].find(([text]) => text.includes(part))?.[1] ?? ''
    expect(saidBy('deploy --network')).toContain('is a Safe: 2 of 3 owners sign')
    expect(saidBy('deploy --network')).not.toContain(keyOf(deployer))
    expect(saidBy('deploy --check')).not.toContain('FAILED')
    expect(saidBy('deploy --check')).toContain('nobody administers the timelock but itself')
    expect(saidBy('measurement show')).toContain('approveMeasurement(1, 0x')
    expect(readFileSync(join(folder, '.config/hardhat-nodejs/keystore.json'), 'utf8')).not.toContain(
      keyOf(deployer).slice(2),
    )
  }, 180_000)

  it('sends only transactions that a real chain takes, each contract once', async () => {
    const { client } = stage
    let sent = 0
    let most = 0n
    for (let number = 0n; number <= (await client.getBlockNumber()); number++) {
      const { transactions } = await client.getBlock({ blockNumber: number, includeTransactions: true })
      for (const { from, hash } of transactions) {
        if (from.toLowerCase() !== deployer.address.toLowerCase()) continue
        const { gasUsed } = await client.getTransactionReceipt({ hash })
        sent++
        if (gasUsed > most) most = gasUsed
      }
    }
    expect(sent).toBe(TRANSACTIONS)
    expect(most).toBeGreaterThan(1_000_000n)
    expect(most).toBeLessThan(TRANSACTION_GAS_MAX)
    await expect(stage.wallet.sendTransaction({ to: stranger.address, gas: TRANSACTION_GAS_MAX + 1n })).rejects.toThrow(
      /gas/i,
    )
  })

  it('names the block of the first contract', async () => {
    const { fromBlock } = deployment
    const { transactions } = await stage.client.getBlock({ blockNumber: fromBlock })
    const receipts = await Promise.all(transactions.map((hash) => stage.client.getTransactionReceipt({ hash })))
    expect(receipts.map(({ from }) => from)).toContain(deployer.address.toLowerCase())
    const before = await stage.client.getTransactionCount({ address: deployer.address, blockNumber: fromBlock - 1n })
    expect(before).toBe(0)
  })

  it('exports a module that viem and ethers read the contracts with', async () => {
    const exports = (await import(pathToFileURL(join(out, 'contracts.mjs')).href)) as {
      readonly addresses: Omit<Deployment, 'chainId' | 'fromBlock'>
      readonly chainId: number
      readonly fromBlock: bigint
      readonly enclaveRegistryAbi: typeof enclaveRegistryAbi
    }
    const { chainId, fromBlock, ...addresses } = deployment
    expect(JSON.parse(JSON.stringify(exports.addresses).toLowerCase())).toEqual(addresses)
    expect([exports.chainId, exports.fromBlock]).toEqual([chainId, fromBlock])
    const read = {
      address: exports.addresses.registry,
      abi: exports.enclaveRegistryAbi,
      functionName: 'guardian',
    } as const
    expect(await stage.client.readContract(read)).toBe(guardian.address)
    const provider = new JsonRpcProvider(stage.node.rpcUrl)
    onTestFinished(() => provider.destroy())
    const abi = Interface.from(JSON.stringify(exports.enclaveRegistryAbi))
    expect(await new Contract(exports.addresses.registry, abi, provider).getFunction('guardian')()).toBe(
      guardian.address,
    )
    // What the types say is what the module holds.
    const types = readFileSync(join(out, 'contracts.d.mts'), 'utf8')
    expect(types).toContain(`export declare const fromBlock: ${fromBlock}n`)
    expect(types).toContain('readonly "name": "approveMeasurement"')
    const files = readdirSync(join(out, 'abis')).map((name) => name.replace('.json', ''))
    expect(files.toSorted()).toEqual(CONTRACTS)
  })

  it('writes for every contract what compiles to the code that stands on the chain', async () => {
    const files = readdirSync(join(out, 'verification')).filter((name) => !name.startsWith('input-'))
    expect(files.map((name) => name.replace('.json', '')).toSorted()).toEqual(CONTRACTS)
    const inputs = new Map<string, string>()
    for (const file of files) {
      const facts = JSON.parse(readFileSync(join(out, 'verification', file), 'utf8')) as Verification
      const { creationTransaction, address, constructorArguments, contract, compiler, standardJsonInput } = facts
      expect(compiler).toBe('v0.8.37+commit.f401782d')
      const input = inputs.get(standardJsonInput) ?? readFileSync(join(out, 'verification', standardJsonInput), 'utf8')
      inputs.set(standardJsonInput, input)
      const [source = '', name = ''] = contract.split(':')
      expect(Object.keys((JSON.parse(input) as CompilerInput).sources)).toContain(source)
      const artifact = readArtifact(join(folder, 'ignition/deployments/chain-84532/artifacts'), name)
      expect(artifact.inputSourceName).toBe(source)
      const { input: sent, to } = await stage.client.getTransaction({ hash: creationTransaction })
      expect(to).toBeNull()
      expect(sent).toBe(`${artifact.bytecode}${constructorArguments.slice(2)}`)
      const { contractAddress } = await stage.client.getTransactionReceipt({ hash: creationTransaction })
      expect(contractAddress?.toLowerCase()).toBe(address)
    }
  })

  it('writes inputs that solc alone compiles to the code of the timelock and of one of ours, immutables aside', async () => {
    const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string }
    const chosen = ['TimelockController', 'InferenceVerifier'].map(
      (name) => JSON.parse(readFileSync(join(out, 'verification', `${name}.json`), 'utf8')) as Verification,
    )
    for (const file of new Set(chosen.map(({ standardJsonInput }) => standardJsonInput))) {
      const wanted = chosen.filter(({ standardJsonInput }) => standardJsonInput === file)
      const input = JSON.parse(readFileSync(join(out, 'verification', file), 'utf8')) as CompilerInput
      // Code of these alone: the rest takes a minute, and is in no metadata.
      const selection = wanted.map(({ contract }) => {
        const [source = '', name = ''] = contract.split(':')
        return [source, { [name]: ['evm.deployedBytecode'] }]
      })
      input.settings.outputSelection = Object.fromEntries(selection)
      const output = JSON.parse(solc.compile(JSON.stringify(input))) as CompilerOutput
      for (const { contract, address } of wanted) {
        const [source = '', name = ''] = contract.split(':')
        const compiled = output.contracts[source]?.[name]?.evm.deployedBytecode
        const code = fromHex((await stage.client.getCode({ address })) ?? '0x')
        const places = Object.values(compiled?.immutableReferences ?? {}).flat()
        for (const { start, length } of places) code.fill(0, start, start + length)
        expect(toHex(code), name).toBe(`0x${compiled?.object}`)
      }
    }
  }, 180_000)

  it('is found wanting in one sentence for each thing that is not as the file says', async () => {
    const { client } = stage
    const wrong = async (changed: Partial<Deployment>, powers = {}) => {
      const findings = await checkDeployment(client, { ...deployment, ...changed }, powers)
      return findings.filter(({ isOk }) => !isOk).map(({ says }) => says)
    }
    const { timelock, verifier, vault, token } = deployment
    expect(await wrong({})).toEqual([])
    expect(await wrong({ chainId: 1 })).toEqual(['this is chain 84532, the file says 1'])
    expect(await wrong({ settlement: stranger.address })).toEqual([
      `settlement ${stranger.address} has no code on this chain`,
    ])
    expect(await wrong({ token: vault })).toEqual([
      `the token cannot be told: ${vault} does not answer decimals, so it is another contract`,
    ])
    const other = await wrong({ token: OTHER_TOKEN })
    expect(other).toEqual(
      ['registry', 'vault', 'bounty'].map((name) => expect.stringContaining(`the ${name} counts in`)),
    )
    expect(await wrong({}, { guardian: timelock })).toEqual([
      `the registry's guardian is ${guardian.address}, not ${timelock}`,
      `the vault's guardian is ${guardian.address}, not ${timelock}`,
      `certificates are revoked by ${guardian.address}, not by the guardian ${timelock}`,
    ])
    expect(await wrong({}, { proposer: verifier })).toEqual([
      `proposals come from ${proposer.address}, not from ${verifier}`,
    ])
    expect(token).toBe(SOME_TOKEN)
  })

  it('shows who else came to power, and a timelock that waits too short', async () => {
    const { client, node } = stage
    const { timelock, registry } = deployment
    const snapshot = await node.request('evm_snapshot', [])
    await node.request('anvil_impersonateAccount', [timelock])
    await node.request('anvil_setBalance', [timelock, '0xde0b6b3a7640000'])
    const decide = async (to: Hex, data: Hex): Promise<void> => {
      const hash = (await node.request('eth_sendTransaction', [{ from: timelock, to, data }])) as Hex
      expect((await client.waitForTransactionReceipt({ hash })).status).toBe('success')
    }
    const abi = timelockControllerAbi
    const role = (name: 'DEFAULT_ADMIN_ROLE' | 'PROPOSER_ROLE') =>
      client.readContract({ address: timelock, abi, functionName: name })
    for (const name of ['DEFAULT_ADMIN_ROLE', 'PROPOSER_ROLE'] as const) {
      const args = [await role(name), stranger.address] as const
      await decide(timelock, encodeFunctionData({ abi, functionName: 'grantRole', args }))
    }
    await decide(timelock, encodeFunctionData({ abi, functionName: 'updateDelay', args: [60n] }))
    const args = [stranger.address] as const
    await decide(registry, encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'transferOwnership', args }))
    const findings = await checkDeployment(client, deployment, { proposer: proposer.address })
    expect(findings.filter(({ isOk }) => !isOk).map(({ says }) => says)).toEqual([
      `the registry is being handed over to ${stranger.address}`,
      'the timelock waits 60 s, less than 172800',
      `the timelock is administered by ${stranger.address}`,
      `proposals come from ${proposer.address}, ${stranger.address}, not from ${proposer.address}`,
    ])
    await node.request('evm_revert', [snapshot])
  })

  it('refuses what cannot be mended afterwards, before anything is sent', async () => {
    const { client, node } = stage
    const target: Target = {
      network: 'baseSepolia',
      chainId: 84_532,
      isLocal: false,
      isMainnet: false,
      token: undefined,
      client,
      deployer: deployer.address,
    }
    const mainnet = { ...target, network: 'base', isMainnet: true, token: OPG_ON_BASE } as const
    const good = { proposer: proposer.address, guardian: guardian.address, protocol: protocol.address } as const
    const refusal = async (where: Target, options: Partial<DeployOptions>): Promise<string> => {
      const all = { network: where.network, out: '', isTestToken: false, ...good, ...options }
      return planDeployment(where, all, false).then(
        () => 'nothing was refused',
        (error: Error) => error.message,
      )
    }
    const { proposer: _, ...withoutProposer } = good
    expect(await refusal(target, { token: SOME_TOKEN })).toBe('nothing was refused')
    expect(await refusal(target, {})).toMatch(/^give the address of OPG on chain 84532 with --token/)
    expect(await refusal(mainnet, {})).toBe(`--token ${OPG_ON_BASE} is no contract on this chain: nothing was sent`)
    expect(await refusal(mainnet, { isTestToken: true })).toMatch(/anyone may mint TestOPG/)
    expect(await refusal(target, { isTestToken: true })).toBe('nothing was refused')
    expect(await refusal(target, { token: stranger.address })).toMatch(/is no contract on this chain/)
    expect(await refusal(target, { token: deployment.registry })).toMatch(/is no ERC-20 token/)
    // Six decimals, whatever is asked.
    const sixDecimals = `0x${'06'.repeat(20)}` as const
    await node.request('anvil_setCode', [sixDecimals, '0x60065f5260205ff3'])
    expect(await refusal(target, { token: sixDecimals })).toMatch(/has 6 decimals/)
    expect(await refusal(mainnet, { token: SOME_TOKEN, guardian: stranger.address })).toBe(
      `the guardian on base must be a multisig, and ${stranger.address} is an account of one key: nothing was sent`,
    )
    // EIP-7702: still one key.
    await node.request('anvil_setCode', [accountOf(9).address, `0xef0100${proposer.address.slice(2)}`])
    expect(await refusal(mainnet, { token: SOME_TOKEN, proposer: accountOf(9).address })).toMatch(
      /is an account of one key/,
    )
    expect(await refusal(target, { token: SOME_TOKEN, developmentRoot: 'root.json' })).toMatch(/for local chains only/)
    expect(
      await planDeployment(
        target,
        { network: '', out: '', isTestToken: false, token: SOME_TOKEN, ...withoutProposer },
        false,
      ).catch((error: Error) => error.message),
    ).toBe('give the address of the proposer, a multisig, with --proposer')
    for (const [hardfork, sentence] of [
      ['cancun', /no precompiles for BLS12-381/],
      ['prague', /does not follow the rules of Osaka/],
    ] as const) {
      const old = await startAnvil(Math.floor(Date.now() / 1000), { hardfork })
      onTestFinished(() => old.close())
      const oldClient = createPublicClient({ transport: http(old.rpcUrl) }) as PublicClient
      expect(await refusal({ ...target, client: oldClient }, { token: SOME_TOKEN })).toMatch(sentence)
    }
    expect(await refusal({ ...target, deployer: `0x${'99'.repeat(20)}` }, { token: SOME_TOKEN })).toMatch(/has 0 ETH/)
  })
})

type Verification = {
  readonly address: Hex
  readonly contract: string
  readonly compiler: string
  readonly standardJsonInput: string
  readonly constructorArguments: Hex
  readonly creationTransaction: Hex
}
type CompilerInput = {
  readonly sources: Record<string, unknown>
  readonly settings: { outputSelection: unknown }
}
type CompilerOutput = {
  readonly contracts: Record<
    string,
    Record<string, { evm: { deployedBytecode: { object: string; immutableReferences: Record<string, Place[]> } } }>
  >
}
type Place = { readonly start: number; readonly length: number }

function readArtifact(path: string, name: string): { readonly inputSourceName: string; readonly bytecode: Hex } {
  const file = readdirSync(path).find((candidate) => candidate.endsWith(`#${name}.json`))
  return JSON.parse(readFileSync(join(path, file ?? ''), 'utf8'))
}
