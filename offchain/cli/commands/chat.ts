/** `sealpath chat`: one sealed question, the answer as it arrives, and its receipt. @module */
import { writeFileSync } from 'node:fs'
import type { ProofBundle } from '#protocol/wire/receiptFile.ts'
import { serializeProofBundle } from '#protocol/wire/receiptFile.ts'
import { connect, type SealedClient } from '../../sdk/connect.ts'
import type { SealedReceipt } from '../../sdk/sealedReceipt.ts'
import { addressOf, type Command, readArguments, required, showProgress, UsageError } from '../command.ts'

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
  --padding MODE     private (default), balanced or off`,
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
      },
    })
    const question = positionals.join(' ')
    if (question === '') throw new UsageError('give a question')
    const { padding } = values
    if (padding !== 'private' && padding !== 'balanced' && padding !== 'off') {
      throw new UsageError('--padding is private, balanced or off')
    }
    const aggregatorUrl = values.settle ? required(values.aggregator, '--aggregator', 'SEALPATH_AGGREGATOR') : undefined
    const connected = showProgress('reading the registry and checking evidence')
    const sealed = await connect({
      rpcUrl: required(values.rpc, '--rpc', 'SEALPATH_RPC'),
      relayUrl: required(values.relay, '--relay', 'SEALPATH_RELAY'),
      registry: addressOf(required(values.registry, '--registry', 'SEALPATH_REGISTRY'), '--registry'),
      padding,
      ...(aggregatorUrl === undefined ? {} : { aggregatorUrl }),
    })
    connected()
    const receipt = await ask(sealed, values.model ?? (await firstModel(sealed)), question)
    process.stderr.write(`receipt verified: leaf ${receipt.leaf}, fee ${receipt.file.private.fee} units\n`)
    const proof = values.settle ? await waitForSettlement(receipt) : undefined
    if (values.save !== undefined) {
      writeFileSync(values.save, proof === undefined ? receipt.toJson() : serializeProofBundle(proof))
      process.stderr.write(`saved ${values.save}; check it with: sealpath verify ${values.save}\n`)
    }
    return 0
  },
}

async function ask(sealed: SealedClient, model: string, question: string): Promise<SealedReceipt> {
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: question }] }),
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
