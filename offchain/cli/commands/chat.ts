/** `sealpath chat`: one sealed question, the answer as it arrives, and its receipt. @module */
import { writeFileSync } from 'node:fs'
import { formatOpg } from '#protocol/credits/amounts.ts'
import type { ProofBundle } from '#protocol/wire/receiptFile.ts'
import { serializeProofBundle } from '#protocol/wire/receiptFile.ts'
import { connect, type SealedClient } from '../../sdk/connect.ts'
import type { SealedReceipt } from '../../sdk/sealedReceipt.ts'
import { type Command, readArguments, required, showProgress, UsageError } from '../command.ts'
import { openFunds } from '../walletFunds.ts'
import { networkOf, PURCHASE_OPTIONS, WALLET_OPTIONS } from '../walletOptions.ts'

export const chat: Command = {
  name: 'chat',
  summary: 'Ask one question, sealed, and get the answer with its receipt',
  usage: `usage: sealpath chat [options] QUESTION

  --rpc URL          JSON-RPC endpoint of the chain         (SEALPATH_RPC)
  --relay URL        the relay                              (SEALPATH_RELAY)
  --registry ADDRESS EnclaveRegistry                        (SEALPATH_REGISTRY)
  --aggregator URL   where the settled proof is asked for   (SEALPATH_AGGREGATOR; with --settle)
  --model NAME       default: the first one the gateway lists
  --save FILE        write receipt.json there (with --settle: the proof bundle)
  --settle           wait until the receipt is settled on chain
  --padding MODE     private (default), balanced or off
  --max-tokens N     at most so many tokens of answer: bounds what it can cost
  --wallet FILE      pays from this wallet                  (SEALPATH_WALLET)
  --passphrase-file FILE   asked on the terminal if neither is given   (SEALPATH_PASSPHRASE)
  --top-up AMOUNT    buys 1, 10 or 100 OPG when less than a tenth of it is left; needs --key-file and --top-up-limit
  --top-up-limit AMOUNT    what may be bought so in 30 days at most
  --key-file FILE    private key of the account that --top-up pays from (SEALPATH_KEY_FILE)
  --purchase-relay URL     another relay for --top-up       (SEALPATH_PURCHASE_RELAY)`,
  async run(args) {
    const { values, positionals } = readArguments({
      args,
      allowPositionals: true,
      options: {
        rpc: { type: 'string' },
        relay: { type: 'string' },
        registry: { type: 'string' },
        aggregator: { type: 'string' },
        model: { type: 'string' },
        save: { type: 'string' },
        settle: { type: 'boolean', default: false },
        padding: { type: 'string', default: 'private' },
        'max-tokens': { type: 'string' },
        'top-up': { type: 'string' },
        'top-up-limit': { type: 'string' },
        ...WALLET_OPTIONS,
        ...PURCHASE_OPTIONS,
      },
    })
    const question = positionals.join(' ')
    if (question === '') throw new UsageError('give a question')
    const { padding } = values
    if (padding !== 'private' && padding !== 'balanced' && padding !== 'off') {
      throw new UsageError('--padding is private, balanced or off')
    }
    const aggregatorUrl = values.settle ? required(values.aggregator, '--aggregator', 'SEALPATH_AGGREGATOR') : undefined
    const { rpcUrl, relayUrl, registry } = networkOf(values)
    const maxTokens = values['max-tokens'] === undefined ? undefined : tokensOf(values['max-tokens'])
    const funds = await openFunds(values)
    try {
      const connected = showProgress('reading the registry and checking evidence')
      const sealed = await connect({
        rpcUrl,
        relayUrl,
        registry,
        padding,
        ...(aggregatorUrl === undefined ? {} : { aggregatorUrl }),
        ...funds?.options,
      })
      connected()
      await answer(sealed, question, { ...values, maxTokens })
      return 0
    } finally {
      await funds?.close()
    }
  },
}

type Answering = {
  readonly model?: string | undefined
  readonly save?: string | undefined
  readonly settle: boolean
  readonly maxTokens: number | undefined
}

async function answer(
  sealed: SealedClient,
  question: string,
  { model, save, settle, maxTokens }: Answering,
): Promise<void> {
  const receipt = await ask(sealed, model ?? (await firstModel(sealed)), question, maxTokens)
  const { fee } = receipt.file.private
  process.stderr.write(`receipt verified: leaf ${receipt.leaf}, fee ${fee} units (${formatOpg(fee)})\n`)
  await sealed.idle()
  const proof = settle ? await waitForSettlement(receipt) : undefined
  if (save === undefined) return
  writeFileSync(save, proof === undefined ? receipt.toJson() : serializeProofBundle(proof))
  process.stderr.write(`saved ${save}; check it with: sealpath verify ${save}\n`)
}

async function ask(
  sealed: SealedClient,
  model: string,
  question: string,
  maxTokens: number | undefined,
): Promise<SealedReceipt> {
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      stream: true,
      ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
      messages: [{ role: 'user', content: question }],
    }),
  })
  if (!response.ok || response.body === null)
    throw new Error(`the gateway answered ${response.status}: ${await errorOf(response)}`)
  let rest = ''
  const decoder = new TextDecoder()
  for await (const bytes of response.body) {
    rest += decoder.decode(bytes, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) process.stdout.write(textOf(line))
  }
  process.stdout.write('\n')
  return sealed.receiptOf(response)
}

/** The text in one line of an event stream; none in the others. */
function textOf(line: string): string {
  if (!line.startsWith('data: {')) return ''
  const chunk = JSON.parse(line.slice('data: '.length)) as { choices?: { delta?: { content?: unknown } }[] }
  const content = chunk.choices?.[0]?.delta?.content
  return typeof content === 'string' ? content : ''
}

async function firstModel(sealed: SealedClient): Promise<string> {
  const response = await sealed.fetch(`${sealed.baseURL}/models`)
  const list = (await response.json()) as { data?: { id?: unknown }[] }
  const id = list.data?.[0]?.id
  if (typeof id !== 'string') throw new Error('the gateway lists no model')
  return id
}

async function errorOf(response: Response): Promise<string> {
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } }
    return error?.message ?? text
  } catch {
    // Not JSON: the text itself is all there is.
    return text
  }
}

async function waitForSettlement(receipt: SealedReceipt): Promise<ProofBundle> {
  const done = showProgress('waiting for settlement')
  const proof = await receipt.settled()
  done()
  const { batch, block, transaction } = proof.settled
  process.stderr.write(`settled in batch ${batch}, block ${block}, transaction ${transaction}\n`)
  return proof
}

function tokensOf(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text)
  throw new UsageError('--max-tokens is a whole number from 1')
}
