/**
 * `npm start`: the whole main job in one terminal. Starts the local network, buys credits, sends one sealed chat and pays for it, waits until
 * its receipt and the issuer's clearing settle, asks a contract to verify it, draws what the operator earned, and then runs on until Ctrl-C, with the
 * explorer's pages on a port of their own.
 *
 *   --once               exit 0 after the proof
 *   --fault aggregator   kill and restart the aggregator in the middle; the end is the same
 *   --port N             first of fourteen ports; 8545 unless told
 *   --prompt TEXT        what to ask
 *
 * @module
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { formatUnits } from 'viem'
import { inferenceVerifierAbi, receiptSettlementAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { settledProofArgument } from '#chain/proof.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import type { ProofBundle } from '#protocol/wire/receiptFile.ts'
import { connect, type SealedClient } from '../offchain/sdk/connect.ts'
import type { SealedReceipt } from '../offchain/sdk/sealedReceipt.ts'
import type { Wallet } from '../offchain/sdk/wallet/wallet.ts'
import { mined } from './local/contracts.ts'
import { DEMO_MODEL } from './local/demoPrices.ts'
import { type ExplorerSite, serveExplorer } from './local/explorerSite.ts'
import { type LocalNetwork, PORT_COUNT, startLocalNetwork } from './local/network.ts'
import { requireFreePort, StartError, waitFor } from './local/processes.ts'

const DEFAULT_PROMPT = 'In one sentence, what is Sealpath?'
const FINALITY_SETTLED = 2
const OPG_DECIMALS = 18

type Arguments = {
  readonly once: boolean
  readonly fault: 'aggregator' | undefined
  readonly port: number
  readonly prompt: string
}

const startedAt = performance.now()
let network: LocalNetwork | undefined
let isStopping = false
const starting = new AbortController()

process.on('SIGINT', () => void interrupt())
process.on('SIGTERM', () => void interrupt())

try {
  await main(readArguments())
} catch (error) {
  await fail(error)
}

async function main(args: Arguments): Promise<void> {
  requireNode24()
  const explorerPort = args.port + PORT_COUNT
  if (!args.once) await requireFreePort(explorerPort, 'explorer')
  network = await startLocalNetwork({
    port: args.port,
    onStep: step,
    onCrash: (error) => void fail(error),
    signal: starting.signal,
  })
  // Nobody has to wait for it: it builds while the first answer settles.
  const explorer = args.once ? undefined : openExplorer(network, explorerPort)
  explorer?.catch(() => undefined)
  const wallet = await buy(network)
  const sealed = await connectSealed(network, wallet)
  const receipt = await chat(sealed, args.prompt)
  if (args.fault === 'aggregator') await killAggregator(network)
  const proof = await settle(network, receipt)
  const verdict = await askContract(network, proof)
  await payOut(network, receipt)
  const { batch, batchSize, transaction } = proof.settled
  const { gasUsed } = await network.client.getTransactionReceipt({ hash: transaction })
  process.stdout.write(
    `\nleaf ${receipt.leaf}, batch ${batch}, gas per head ${gasUsed / batchSize}, verified by contract: ${verdict}\n`,
  )
  if (verdict === 'no') throw new StartError('the contract does not accept the proof')
  if (explorer === undefined) return stop(0)
  printWhatNext(network, receipt, (await explorer).url)
}

/** The explorer with this network as its sources: the browser asks chain, aggregator and relay itself. */
function openExplorer({ folder, urls, deployment }: LocalNetwork, port: number): Promise<ExplorerSite> {
  const { rpc: rpcUrl, aggregator: aggregatorUrl, relay: relayUrl } = urls
  return serveExplorer(join(folder, 'explorer'), port, { rpcUrl, aggregatorUrl, relayUrl, deployment: deployment() })
}

/** Somebody with OPG buys credits: the chain sees a deposit, the issuer signs what it cannot read. */
async function buy(running: LocalNetwork): Promise<Wallet> {
  const { wallet } = await running.buyCredits({
    seed: crypto.getRandomValues(new Uint8Array(32)),
    onDeposit: (units, gasUsed) => step('deposit made', `${formatOpg(units)} into the vault, ${gasUsed} gas`),
  })
  step('credits issued', `${wallet.balance.credits} blind credits, ${formatOpg(wallet.balance.spendable)}`)
  return wallet
}

async function connectSealed({ urls, deployment }: LocalNetwork, wallet: Wallet): Promise<SealedClient> {
  const sealed = await connect({
    rpcUrl: urls.rpc,
    relayUrl: urls.relay,
    registry: deployment().registry,
    aggregatorUrl: urls.aggregator,
    wallet,
    onStep: (event) => {
      if (event.kind === 'change-taken')
        step('change taken', `fee ${event.feeUnits} units, ${formatOpg(wallet.balance.spendable)} left`)
    },
  })
  const kind = sealed.gateway.isDevelopment ? 'development root: format proven, no hardware' : 'AWS Nitro'
  step('evidence verified by the client', kind)
  return sealed
}

/** Sends one sealed streaming chat and prints the tokens as they arrive. */
async function chat(sealed: SealedClient, prompt: string): Promise<SealedReceipt> {
  process.stdout.write(`\n  you     ${prompt}\n  answer  `)
  const begun = performance.now()
  let firstTokenMs: number | undefined
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: DEMO_MODEL,
      stream: true,
      temperature: 0,
      messages: [{ role: 'user', content: prompt }],
    }),
  })
  if (!response.ok || response.body === null) throw new StartError(`the gateway answered: ${await response.text()}`)
  for await (const text of contentOf(response.body)) {
    firstTokenMs ??= performance.now() - begun
    process.stdout.write(text)
  }
  process.stdout.write('\n\n')
  const receipt = await sealed.receiptOf(response)
  const { promptTokens, completionTokens } = receipt.file.private
  step(
    'sealed chat answered',
    `first token ${Math.round(firstTokenMs ?? 0)} ms, ${promptTokens} + ${completionTokens} tokens, fee ${receipt.file.private.fee} units`,
  )
  step('receipt verified by the client', `leaf ${receipt.leaf}`)
  return receipt
}

/** The text pieces of an OpenAI event stream. */
async function* contentOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)) {
    rest += piece
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue
      const chunk = JSON.parse(line.slice('data: '.length)) as { choices: { delta: { content?: string } }[] }
      const content = chunk.choices[0]?.delta.content
      if (content !== undefined && content !== null) yield content
    }
  }
}

async function killAggregator(running: LocalNetwork): Promise<void> {
  await running.kill(running.children.aggregator)
  step('aggregator killed', 'as by kill -9')
  await running.restartAggregator()
  step('aggregator restarted', 'on the same database')
}

async function settle(running: LocalNetwork, receipt: SealedReceipt): Promise<ProofBundle> {
  const proof = await receipt.settled({ timeoutMs: 120_000 })
  const { batch, transaction, block } = proof.settled
  const { gasUsed } = await running.client.getTransactionReceipt({ hash: transaction })
  step('receipt settled', `batch ${batch} in block ${block}, ${gasUsed} gas for ${proof.settled.batchSize} head`)
  return proof
}

async function askContract(running: LocalNetwork, proof: ProofBundle): Promise<'yes' | 'no'> {
  const status = await running.client.readContract({
    address: running.deployment().inference,
    abi: inferenceVerifierAbi,
    functionName: 'settled',
    args: [settledProofArgument(proof.receipt, proof.settled)],
  })
  return status.finality === FINALITY_SETTLED && !status.isCompromised ? 'yes' : 'no'
}

/** The gateway says what it earned, the issuer what was spent there: what both agree on thaws, and is its operator's to draw. On a local chain nothing has to thaw. */
async function payOut(running: LocalNetwork, receipt: SealedReceipt): Promise<void> {
  const { enclave } = receipt.file.public
  const { client } = running
  const settlement = { address: running.deployment().settlement, abi: receiptSettlementAbi } as const
  const account = () => client.readContract({ ...settlement, functionName: 'accountOf', args: [enclave] })
  const { fee } = receipt.file.private
  await waitFor('the clearing', async () => (await account()).cleared >= fee && (await account()).earned >= fee, 60_000)
  const { earned, cleared } = await account()
  step('clearing settled', `the issuer cleared ${cleared} units of ${earned} earned`)
  const wallet = running.wallet('operator')
  const write = async (functionName: 'thaw' | 'withdraw') => {
    const hash = await wallet.writeContract({ ...settlement, functionName, args: [enclave] })
    return mined(client, hash, `the ${functionName} of the earnings`)
  }
  await write('thaw')
  const token = { address: running.deployment().token, abi: testOPGAbi } as const
  const balance = () => client.readContract({ ...token, functionName: 'balanceOf', args: [wallet.account.address] })
  const before = await balance()
  const gasUsed = await write('withdraw')
  step(
    'earnings withdrawn',
    `${((await balance()) - before) / BASE_UNITS_PER_UNIT} units to the operator, ${gasUsed} gas`,
  )
}

function formatOpg(units: bigint): string {
  return `${formatUnits(units * BASE_UNITS_PER_UNIT, OPG_DECIMALS)} OPG`
}

function printWhatNext(
  { urls, deployment, folder, buyerKeyFile }: LocalNetwork,
  receipt: SealedReceipt,
  explorerUrl: string,
): void {
  const receiptFile = join(folder, 'receipt.json')
  writeFileSync(receiptFile, receipt.toJson())
  process.stdout.write(`
Running on until Ctrl-C. Open the explorer, ask from the page, and drop this answer's receipt on it:
  page        ${explorerUrl}
  receipt     ${receiptFile}

What it reads from:
  chain       ${urls.rpc}
  relay       ${urls.relay}/gateways
  aggregator  ${urls.aggregator}/v1/status

See the settled proof:
  curl ${urls.aggregator}/v1/proofs/${receipt.leaf}

Buy credits of your own and ask, sealed (from this folder):
  export NODE_OPTIONS=--disable-warning=ExperimentalWarning
  export SEALPATH_RPC=${urls.rpc} SEALPATH_RELAY=${urls.relay} SEALPATH_REGISTRY=${deployment().registry}
  export SEALPATH_KEY_FILE=${buyerKeyFile} SEALPATH_WALLET=${folder}/wallet SEALPATH_PASSPHRASE=demo
  npx node offchain/cli/main.ts credits buy 1
  npx node offchain/cli/main.ts chat 'How does a receipt settle?'

With the official OpenAI client, from the same wallet:
  npx node --input-type=module -e "
    import OpenAI from 'openai'
    import { openAccount } from './offchain/cli/walletOptions.ts'
    import { connect } from './offchain/sdk/connect.ts'
    const { account, file } = await openAccount({})
    const sealed = await connect({ rpcUrl: '${urls.rpc}', relayUrl: '${urls.relay}', registry: '${deployment().registry}', wallet: account })
    const openai = new OpenAI({ baseURL: sealed.baseURL, apiKey: 'none', fetch: sealed.fetch })
    const answer = await openai.chat.completions.create({ model: '${DEMO_MODEL}', max_tokens: 64, messages: [{ role: 'user', content: 'Who can read my prompt?' }] })
    console.log(answer.choices[0].message.content)
    await sealed.idle()
    file.close()
  "
`)
}

function step(what: string, detail = ''): void {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)
  process.stdout.write(`${seconds} s  ${what.padEnd(32)}${detail}\n`)
}

function readArguments(): Arguments {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: 'boolean', default: false },
        fault: { type: 'string' },
        port: { type: 'string', default: '8545' },
        prompt: { type: 'string', default: DEFAULT_PROMPT },
      },
    })
    const port = Number(values.port)
    if (!Number.isInteger(port) || port < 1024 || port > 65_500)
      throw new StartError('--port must be a number from 1024 to 65500')
    if (values.fault !== undefined && values.fault !== 'aggregator')
      throw new StartError('--fault knows only: aggregator')
    return { once: values.once, fault: values.fault, port, prompt: values.prompt }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : 'bad arguments'}\n`)
    process.exit(2)
  }
}

function requireNode24(): void {
  if (Number(process.versions.node.split('.')[0]) < 24) {
    throw new StartError('this needs Node 24, which npm brings along: start it as `npm start`')
  }
}

/** During the start only the start itself knows what there is to stop. */
async function interrupt(): Promise<void> {
  if (network === undefined) starting.abort()
  else await stop(0)
}

async function fail(error: unknown): Promise<void> {
  if (isStopping) return
  const sentence = error instanceof Error ? error.message : 'unknown failure'
  process.stderr.write(`\nsealpath: ${sentence}\n`)
  if (!(error instanceof StartError) && error instanceof Error && process.env.DEBUG)
    process.stderr.write(`${error.stack}\n`)
  await stop(1)
}

async function stop(code: number): Promise<void> {
  if (isStopping) return
  isStopping = true
  if (network !== undefined) {
    process.stdout.write('\nstopping every role\n')
    await network.stop()
  }
  process.exit(code)
}
