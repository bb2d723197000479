/** docs/guide-dapp.md as a dApp developer follows it: its programs and its contract, as they stand there, on a chain with a settled answer. @module */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Abi, encodeAbiParameters } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answerMarketAbi, fixedPromptBountyAbi, settledValidatorAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { openingArgument, settledProofArgument } from '#chain/proof.ts'
import { encodeUtf8, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from '#protocol/receipt/receipt.ts'
import { type ProofBundle, serializeProofBundle } from '#protocol/wire/receiptFile.ts'
import { chat } from '../../offchain/cli/commands/chat.ts'
import { credits } from '../../offchain/cli/commands/credits.ts'
import { proxy } from '../../offchain/cli/commands/proxy.ts'
import { verify } from '../../offchain/cli/commands/verify.ts'
import { deployArtifact } from '../support/artifacts.ts'
import { deployLocal, type LocalChain, registerTestEnclave, TEST_MEASUREMENT } from '../support/chain.ts'
import { readCommands } from '../support/documentCommands.ts'
import { settleAnswer } from '../support/settledAnswer.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DOCS = join(ROOT, 'docs')
const GUIDE = readFileSync(join(DOCS, 'guide-dapp.md'), 'utf8')
const ENCLAVE_KEY = new Uint8Array(32).fill(0x4b)
const REQUEST = '{"model":"test-model","temperature":0,"seed":7,"messages":[]}'
const ANSWER = 'Paris.'
const COMMANDS = [chat, credits, proxy, verify]

type Artifact = { readonly abi: Abi; readonly bytecode: Hex }

let chain: LocalChain
let folder: string
let keeper: { readonly address: Hex; readonly abi: Abi }
let bundle: ProofBundle

beforeAll(async () => {
  chain = await deployLocal()
  folder = strangersFolder()
  await registerTestEnclave(chain, ENCLAVE_KEY)
  keeper = await deployKeeper(compileGuide())
  const nonce = encodeAbiParameters([{ type: 'address' }], [keeper.address])
  bundle = await settleAnswer(chain, ENCLAVE_KEY, { request: encodeUtf8(REQUEST), output: ANSWER, nonce })
  writeFileSync(join(folder, 'proof.json'), serializeProofBundle(bundle))
})

afterAll(async () => {
  await chain?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

/** The fenced blocks of one language, in order. */
function blocksOf(language: string): readonly string[] {
  return [...GUIDE.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, text = '']) => text)
}

/** Where a project has our package: what it exports is the same, as sources instead of built files. */
function strangersFolder(): string {
  const created = mkdtempSync(join(tmpdir(), 'sealpath-kit-'))
  const modules = join(created, 'node_modules')
  mkdirSync(join(modules, 'sealpath'), { recursive: true })
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { readonly default: string }>
  }
  const sources = Object.entries(exports).map(([name, target]) => {
    const file = typeof target === 'string' ? target : target.default
    return [name, file.replace(/^\.\/dist\/(.*)\.js$/, './$1.ts')]
  })
  const manifest = { name: 'sealpath', type: 'module', exports: Object.fromEntries(sources) }
  writeFileSync(join(modules, 'sealpath/package.json'), JSON.stringify(manifest))
  for (const part of ['offchain', 'contracts']) symlinkSync(join(ROOT, part), join(modules, 'sealpath', part))
  for (const library of ['viem', 'ethers', '@openzeppelin'])
    symlinkSync(join(ROOT, 'node_modules', library), join(modules, library))
  return created
}

/** Runs a program of the guide in the stranger's folder: what it printed, errors behind it. The chain serves it from this process, which must not wait. */
async function runProgram(text: string): Promise<string> {
  writeFileSync(join(folder, 'program.mjs'), text)
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', 'program.mjs'], {
    cwd: folder,
    env: { PATH: process.env.PATH, SEALPATH_RPC: chain.rpcUrl, SEALPATH_INFERENCE: chain.addresses.inference },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      output += piece
    })
  }
  await once(child, 'close')
  return output.trim()
}

/** The guide's contract, its imports found where a project has them. */
function compileGuide(): Artifact {
  const solc = createRequire(import.meta.url)('solc') as {
    compile(input: string, callbacks: { import(path: string): { contents: string } | { error: string } }): string
  }
  const [text = ''] = blocksOf('solidity')
  const resolve = createRequire(join(folder, 'project.js')).resolve
  const settings = {
    evmVersion: 'osaka',
    viaIR: true,
    optimizer: { enabled: true },
    outputSelection: { '*': { AnswerKeeper: ['abi', 'evm.bytecode.object'] } },
  }
  const input = { language: 'Solidity', sources: { 'AnswerKeeper.sol': { content: text } }, settings }
  const output = JSON.parse(
    solc.compile(JSON.stringify(input), {
      import: (path) => ({ contents: readFileSync(resolve(path), 'utf8') }),
    }),
  ) as {
    errors?: readonly { severity: string; formattedMessage: string }[]
    contracts: Record<string, Record<string, { abi: Abi; evm: { bytecode: { object: string } } }>>
  }
  const errors = (output.errors ?? []).filter(({ severity }) => severity === 'error')
  expect(errors.map(({ formattedMessage }) => formattedMessage)).toEqual([])
  const compiled = output.contracts['AnswerKeeper.sol']?.AnswerKeeper
  if (compiled === undefined) throw new Error('the guide has no contract AnswerKeeper')
  return { abi: compiled.abi, bytecode: `0x${compiled.evm.bytecode.object}` }
}

async function deployKeeper({ abi, bytecode }: Artifact): Promise<{ address: Hex; abi: Abi }> {
  const { settlement, registry } = chain.addresses
  const args = [settlement, registry, TEST_MEASUREMENT, toHex(keccak256(encodeUtf8(REQUEST)))]
  const hash = await chain.wallet('deployer').deployContract({ abi, bytecode, args })
  const { contractAddress } = await chain.client.waitForTransactionReceipt({ hash })
  if (contractAddress === null || contractAddress === undefined) throw new Error('the contract was not deployed')
  return { address: contractAddress, abi }
}

type Contract = { readonly address: Hex; readonly abi: Abi }

/** Sends a transaction and answers the gas that it used. */
async function send(contract: Contract, functionName: string, args: readonly unknown[]): Promise<bigint> {
  const hash = await chain.wallet('deployer').writeContract({ ...contract, functionName, args, chain: null })
  const { gasUsed, status } = await chain.client.waitForTransactionReceipt({ hash })
  expect(status).toBe('success')
  return gasUsed
}

const read = (contract: Contract, functionName: string, args: readonly unknown[]) =>
  chain.client.readContract({ ...contract, functionName, args }) as Promise<Hex>

/** The two arguments with which a contract takes `output` as the answer to the request and nonce that it names itself. */
async function answerFor(
  contract: Contract,
  job: bigint,
  output: string,
  nonceArgs: readonly unknown[],
): Promise<readonly unknown[]> {
  const request = fromHex(await read(contract, 'requestBody', [job]))
  const nonce = await read(contract, 'nonceFor', nonceArgs)
  const { receipt, settled } = await settleAnswer(chain, ENCLAVE_KEY, { request, output, nonce })
  return [settledProofArgument(receipt, settled), openingArgument(receipt)]
}

const BODY = [toHex(encodeUtf8('{"model":"test-model","temperature":0,"messages":[],"seed":')), toHex(encodeUtf8('}'))]

async function claimBounty(): Promise<bigint> {
  const bounty = { address: chain.addresses.bounty, abi: fixedPromptBountyAbi as Abi }
  const token = { address: chain.addresses.token, abi: testOPGAbi as Abi }
  const claimant = chain.account('deployer').address
  await send(token, 'mint', [claimant, 1_000n])
  await send(token, 'approve', [bounty.address, 500n])
  await send(bounty, 'open', [...BODY, TEST_MEASUREMENT, 500n])
  await chain.control.mine({ blocks: 3 })
  await send(bounty, 'drawSeed', [1n])
  return send(bounty, 'claim', [1n, ...(await answerFor(bounty, 1n, ANSWER, [1n, claimant]))])
}

async function answerMarket(): Promise<bigint> {
  const { settlement, registry, token } = chain.addresses
  const path = 'contracts/examples/AnswerMarket.sol/AnswerMarket.json'
  const { address } = await deployArtifact(chain, path, [settlement, registry, token])
  const market = { address, abi: answerMarketAbi as Abi }
  const closeBlock = (await chain.client.getBlockNumber()) + 1n
  const quorum = { enclaves: 3, equal: 2, operators: 2 }
  const terms = { quorum, measurements: [TEST_MEASUREMENT], closeBlock, deadlineBlock: closeBlock + 1_000n }
  await send(market, 'open', [terms, ...BODY])
  await chain.control.mine({ blocks: 3 })
  await send(market, 'drawSeed', [1n])
  return send(market, 'answer', [1n, ...(await answerFor(market, 1n, 'yes', [1n]))])
}

async function publishValidation(): Promise<bigint> {
  const { settlement, registry } = chain.addresses
  const path = 'test/contracts/support/TestValidationRegistry.sol/TestValidationRegistry.json'
  const validations = await deployArtifact(chain, path)
  const validatorPath = 'contracts/examples/SettledValidator.sol/SettledValidator.json'
  const { address } = await deployArtifact(chain, validatorPath, [settlement, registry, validations.address])
  const validator = { address, abi: settledValidatorAbi as Abi }
  const agentId = 22n
  const salt = toHex(new Uint8Array(32).fill(9))
  const nonce = await read(validator, 'nonceFor', [agentId])
  const { receipt, settled } = await settleAnswer(chain, ENCLAVE_KEY, {
    request: encodeUtf8(REQUEST),
    output: ANSWER,
    nonce,
  })
  const leaf = toHex(receiptLeaf(hashPublicReceipt(receipt.public), hashPrivateReceipt(receipt.private)))
  const requestHash = await read(validator, 'requestHashOf', [agentId, leaf, salt])
  await send(validations, 'setOwner', [agentId, chain.account('deployer').address])
  await send(validations, 'validationRequest', [address, agentId, 'https://agent.example/work', requestHash])
  const proof = settledProofArgument(receipt, settled)
  const nonceSalt = openingArgument(receipt)?.nonceSalt
  return send(validator, 'publish', [[{ agentId, salt, nonceSalt, proof }]])
}

describe('the guide for dApps', () => {
  it('asks with viem and with ethers, and both say that the answer is settled', async () => {
    const programs = blocksOf('js')
    expect(programs).toHaveLength(2)
    for (const program of programs) expect(await runProgram(program)).toBe('settled')
  })

  it('says that a proof with another answer in it proves nothing', async () => {
    const output = `0x${'99'.repeat(32)}` as const
    const receipt = { ...bundle.receipt, public: { ...bundle.receipt.public, output } }
    const proof = join(folder, 'proof.json')
    const good = readFileSync(proof)
    writeFileSync(proof, serializeProofBundle({ ...bundle, receipt }))
    try {
      expect(await runProgram(blocksOf('js')[0] ?? '')).toBe('proves nothing')
    } finally {
      writeFileSync(proof, good)
    }
  })

  it('keeps the answer in its contract, from the two arguments that it names', async () => {
    const args = [settledProofArgument(bundle.receipt, bundle.settled), openingArgument(bundle.receipt)]
    const write = () => chain.wallet('stranger').writeContract({ ...keeper, functionName: 'keep', args, chain: null })
    const hash = await write()
    expect((await chain.client.waitForTransactionReceipt({ hash })).status).toBe('success')
    const answer = await chain.client.readContract({ ...keeper, functionName: 'answer' })
    expect(answer).toBe(toHex(encodeUtf8(ANSWER)))
    await expect(write()).rejects.toThrow('KeeperHasAnswer')
  })

  it.each([
    ['claim', claimBounty],
    ['answer', answerMarket],
    ['publish', publishValidation],
  ])('says what the examples cost: %s', async (name, measure) => {
    const stated = new RegExp(`\\| \`${name}\`: ([\\d,]+)`).exec(GUIDE)?.[1]
    const gasUsed = Number(await measure())
    // Zero bytes of a salt or an address are cheaper than others.
    expect(Math.abs(gasUsed - Number(stated?.replaceAll(',', ''))), `${name}: ${gasUsed} gas`).toBeLessThan(1_000)
  })

  it('names files that are there', () => {
    const files = [...GUIDE.matchAll(/`(\w+\.sol)`/g)].map(([, file = '']) => file)
    expect(files.length).toBeGreaterThan(4)
    for (const file of files) expect(existsSync(join(ROOT, 'contracts/examples', file)), file).toBe(true)
  })
})

describe.each(['guide-app.md', 'guide-dapp.md'])('%s', (name) => {
  const text = readFileSync(join(DOCS, name), 'utf8')

  it('names commands with options that they have', () => {
    const inText = [...text.matchAll(/`(sealpath [^`]+)`/g)].map(([, command = '']) => command)
    const inBlocks = readCommands(text).map((command) =>
      command.text.replace('npx node offchain/cli/main.ts', 'sealpath'),
    )
    const commands = [...inText, ...inBlocks].filter((command) => command.startsWith('sealpath '))
    expect(commands.length).toBeGreaterThan(1)
    for (const command of commands) {
      const [, first, ...rest] = command.split(/\s+/)
      const usage = COMMANDS.find((candidate) => candidate.name === first)?.usage
      expect(usage, command).toBeDefined()
      if (first === 'credits') expect(usage, command).toContain(`sealpath credits ${rest[0]}`)
      for (const option of rest.filter((word) => word.startsWith('--'))) expect(usage, command).toContain(option)
    }
  })

  it('links to pages that are there', () => {
    const targets = [...text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/\]\(([^)#]+)/g)].map(
      ([, target = '']) => target,
    )
    expect(targets.length).toBeGreaterThan(0)
    for (const target of targets) expect(existsSync(join(DOCS, target)), target).toBe(true)
  })
})
