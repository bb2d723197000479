/** The main job on a whole local network: every role a process, the official OpenAI client, and ethers as a second opinion. @module */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Contract, JsonRpcProvider, toUtf8String } from 'ethers'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixedPromptBountyAbi, inferenceVerifierAbi, receiptSettlementAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { attestedProofArgument, openingArgument, settledProofArgument } from '#chain/proof.ts'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { NONCE_FIELD } from '#protocol/wire/receiptFile.ts'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type AccountName, type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'
import { waitFor } from '../../scripts/local/processes.ts'
import { openTap, type Tap } from '../support/tap.ts'

const PORT = 18_545
const GATEWAY_PORT = PORT + 2
const TAP_PORT = PORT + 20
const PROMPT = 'What is Sealpath?'
const SETTLED = 2
const ATTESTED = 1

let network: LocalNetwork
let relayToGateway: Tap
let clientToRelay: Tap
let wallet: Wallet
let sealed: SealedClient
let openai: OpenAI

beforeAll(async () => {
  relayToGateway = await openTap(TAP_PORT, GATEWAY_PORT)
  network = await startLocalNetwork({
    port: PORT,
    relayTo: relayToGateway.url,
    onCrash: (error) => {
      throw error
    },
  })
  clientToRelay = await openTap(0, PORT + 1)
  wallet = (await network.buyCredits({ seed: new Uint8Array(32).fill(5) })).wallet
  sealed = await connectClient()
  openai = new OpenAI({ baseURL: sealed.baseURL, apiKey: 'secret-of-the-app', fetch: sealed.fetch })
}, 180_000)

afterAll(async () => {
  await network?.stop()
  await relayToGateway?.close()
  await clientToRelay?.close()
})

function connectClient(): Promise<SealedClient> {
  return connect({
    rpcUrl: network.urls.rpc,
    relayUrl: clientToRelay.url,
    registry: network.deployment().registry,
    aggregatorUrl: network.urls.aggregator,
    wallet,
  })
}

async function askStreaming(question: string): Promise<string> {
  const stream = await openai.chat.completions.create({
    model: DEMO_MODEL,
    stream: true,
    messages: [{ role: 'user', content: question }],
  })
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  return text
}

describe('the sealed chat', () => {
  it('streams through the official OpenAI client, and nobody in between sees a word of it', async () => {
    const answer = await askStreaming(PROMPT)
    expect(answer).toContain('settlement system')
    for (const tap of [clientToRelay, relayToGateway]) {
      const wire = tap.bytes()
      expect(wire.length).toBeGreaterThan(4_096)
      for (const word of [
        PROMPT,
        answer,
        answer.slice(0, 24),
        'settlement system',
        DEMO_MODEL,
        'messages',
        'secret-of-the-app',
      ]) {
        expect(wire.includes(word), `${word} is on the wire`).toBe(false)
        expect(
          wire.includes(Buffer.from(word).toString('base64').slice(0, -4)),
          `${word} is on the wire in base64`,
        ).toBe(false)
      }
    }
  })

  it('shows the gateway no header of the client but the media type', () => {
    const requests = relayToGateway.bytes().toString('latin1').split('POST /gateway HTTP/1.1\r\n').slice(1)
    expect(requests.length).toBeGreaterThan(0)
    for (const request of requests) {
      const head = request.slice(0, request.indexOf('\r\n\r\n')).toLowerCase()
      const names = head.split('\r\n').map((line) => line.slice(0, line.indexOf(':')))
      const allowed = ['host', 'connection', 'content-type', 'incremental', 'transfer-encoding', 'content-length']
      const ofTheRelay = ['accept', 'accept-language', 'accept-encoding', 'sec-fetch-mode', 'user-agent']
      expect(names.filter((name) => ![...allowed, ...ofTheRelay].includes(name))).toEqual([])
      expect(head).not.toContain('openai')
    }
  })

  it('answers whole completions and lists models with their claims', async () => {
    const completion = await openai.chat.completions.create({
      model: DEMO_MODEL,
      messages: [{ role: 'user', content: 'Hello' }],
    })
    expect(completion.choices[0]?.message.content).toContain('Sealpath')
    expect(completion.usage?.completion_tokens).toBeGreaterThan(5)
    const models = await openai.models.list()
    expect(models.data.map((model) => model.id)).toEqual([DEMO_MODEL])
  })

  it('passes the errors of the gateway to the client in the shape it knows', async () => {
    const ask = openai.chat.completions.create({ model: 'gpt-unknown', messages: [{ role: 'user', content: 'Hello' }] })
    await expect(ask).rejects.toThrow(OpenAI.NotFoundError)
  })

  it('refuses every address that is not ours before anything is sent', async () => {
    const before = clientToRelay.bytes().length
    await expect(sealed.fetch('http://127.0.0.1:1/v1/chat/completions', { method: 'POST' })).rejects.toMatchObject({
      code: 'NOT_OURS',
    })
    expect(clientToRelay.bytes().length).toBe(before)
  })

  it('refuses to seal when the policy does not accept the measurement', async () => {
    const refused = connect({
      rpcUrl: network.urls.rpc,
      relayUrl: clientToRelay.url,
      registry: network.deployment().registry,
      policy: { measurements: [`0x${'00'.repeat(32)}`] },
    })
    await expect(refused).rejects.toMatchObject({ code: 'EVIDENCE_REFUSED', reason: 'POLICY' })
  })
})

describe('a relay or gateway that lies', () => {
  /** A relay that passes everything on but what `change` replaces. */
  async function lyingRelay(
    change: (path: string, body: Buffer) => Buffer,
  ): Promise<{ url: string; close: () => void }> {
    const server = createServer(async (request, response) => {
      const answer = await fetch(new URL(request.url ?? '/', network.urls.relay))
      const body = change(request.url ?? '/', Buffer.from(await answer.arrayBuffer()))
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return { url: `http://127.0.0.1:${port}`, close: () => server.close() }
  }

  async function reasonFor(change: (path: string, body: Buffer) => Buffer): Promise<unknown> {
    const relay = await lyingRelay(change)
    try {
      await connect({ rpcUrl: network.urls.rpc, relayUrl: relay.url, registry: network.deployment().registry })
      return 'accepted'
    } catch (error) {
      expect(error).toMatchObject({ code: 'EVIDENCE_REFUSED' })
      return (error as { reason?: string }).reason
    } finally {
      relay.close()
    }
  }

  it('is refused before sealing when it offers another key', async () => {
    const other = await reasonFor((path, body) => {
      if (path.endsWith('/ohttp-keys')) body.writeUInt8(body.readUInt8(body.length - 20) ^ 1, body.length - 20)
      return body
    })
    expect(other).toBe('KEYS_NOT_REGISTERED')
  })

  it('is refused before sealing when the evidence was tampered with', async () => {
    const tampered = await reasonFor((path, body) => {
      if (!path.endsWith('/evidence')) return body
      const evidence = JSON.parse(body.toString()) as { document: string }
      const document = Buffer.from(evidence.document, 'base64')
      document.writeUInt8(document.readUInt8(document.length - 1) ^ 1, document.length - 1)
      return Buffer.from(JSON.stringify({ ...evidence, document: document.toString('base64') }))
    })
    expect(tampered).toBe('BAD_DOCUMENT_SIGNATURE')
  })

  it('is refused before sealing when it names an enclave that the registry does not know', async () => {
    const unknown = await reasonFor((path, body) => {
      if (!path.endsWith('/evidence')) return body
      const evidence = JSON.parse(body.toString()) as { statement: Record<string, unknown> }
      return Buffer.from(
        JSON.stringify({ ...evidence, statement: { ...evidence.statement, enclave: `0x${'11'.repeat(20)}` } }),
      )
    })
    expect(unknown).toBe('NOT_REGISTERED')
  })
})

describe('the proof', () => {
  it('is attested at once and settled soon, and contracts say which of the two it is', async () => {
    const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Who can read my prompt?' }] }),
    })
    await response.text()
    const receipt = await sealed.receiptOf(response)
    const { inference } = network.deployment()
    const verifier = { address: inference, abi: inferenceVerifierAbi } as const
    const attested = await network.client.readContract({
      ...verifier,
      functionName: 'attested',
      args: [attestedProofArgument(receipt.file)],
    })
    expect(attested).toEqual({ finality: ATTESTED, isCompromised: false })

    const proof = await receipt.settled({ timeoutMs: 60_000 })
    const argument = settledProofArgument(proof.receipt, proof.settled)
    const settled = await network.client.readContract({ ...verifier, functionName: 'settled', args: [argument] })
    expect(settled).toEqual({ finality: SETTLED, isCompromised: false })

    const forged = { ...argument, receipt: { ...argument.receipt, output: argument.receipt.request } }
    const refused = await network.client.readContract({ ...verifier, functionName: 'settled', args: [forged] })
    expect(refused.finality).toBe(0)
    // The issuer's clearing agrees, in its own time.
    const account = () =>
      network.client.readContract({
        address: network.deployment().settlement,
        abi: receiptSettlementAbi,
        functionName: 'accountOf',
        args: [receipt.file.public.enclave],
      })
    await waitFor('the clearing', async () => (await account()).cleared === (await account()).earned, 30_000)
    expect((await account()).earned).toBeGreaterThan(0n)
  })

  it('pays a bounty on the settled answer to a fixed prompt, read and claimed by ethers', async () => {
    const { bounty, token } = network.deployment()
    const amount = 5n * 10n ** 18n
    await write('buyer', token, testOPGAbi, 'mint', [network.account('buyer').address, amount])
    await write('buyer', token, testOPGAbi, 'approve', [bounty, amount])
    const bodyStart = `{"model":"${DEMO_MODEL}","temperature":0,"messages":[{"role":"user","content":"How does a receipt settle?"}],"seed":`
    const { enclave } = sealed.gateway
    await write('buyer', bounty, fixedPromptBountyAbi, 'open', [
      toHex(encodeUtf8(bodyStart)),
      toHex(encodeUtf8('}')),
      sealed.gateway.measurement,
      amount,
    ])
    for (let i = 0; i < 3; i++) await network.client.request({ method: 'evm_mine' } as never)
    await write('protocol', bounty, fixedPromptBountyAbi, 'drawSeed', [1n])

    const provider = new JsonRpcProvider(network.urls.rpc, undefined, {
      staticNetwork: true,
      polling: true,
      pollingInterval: 100,
    })
    const claimant = await provider.getSigner(network.account('protocol').address)
    const contract = new Contract(bounty, fixedPromptBountyAbi as never, claimant)
    const [body, nonce] = await Promise.all([
      contract.getFunction('requestBody')(1n) as Promise<string>,
      contract.getFunction('nonceFor')(1n, claimant.address) as Promise<string>,
    ])
    const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', [NONCE_FIELD]: nonce },
      body: toUtf8String(body),
    })
    await response.text()
    const receipt = await sealed.receiptOf(response)
    expect(receipt.file.public.enclave).toBe(enclave)
    const proof = await receipt.settled({ timeoutMs: 60_000 })
    const opening = openingArgument(proof.receipt)
    const claim = await contract.getFunction('claim')(1n, settledProofArgument(proof.receipt, proof.settled), opening)
    await claim.wait()
    const job = await contract.getFunction('jobOf')(1n)
    expect(job.isPaid).toBe(true)
    expect(toUtf8String(job.answer)).toContain('leaf in the enclave')
    provider.destroy()
  })
})

describe('with chain and aggregator out of reach', () => {
  it('answers as before, keeps the receipts, and settles them afterwards', async () => {
    const running = await medianAnswerMs()
    signal('SIGSTOP')
    const receipts = []
    let stopped: number
    try {
      stopped = await medianAnswerMs()
      const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: DEMO_MODEL, messages: [{ role: 'user', content: 'Hello' }] }),
      })
      await response.text()
      receipts.push(await sealed.receiptOf(response))
    } finally {
      signal('SIGCONT')
    }
    // Both are dominated by the ticks of the private mode; a wait for chain or aggregator would be seconds.
    expect(stopped).toBeLessThan(2 * running + 500)
    for (const receipt of receipts) {
      const proof = await receipt.settled({ timeoutMs: 90_000 })
      expect(proof.settled.enclave).toBe(sealed.gateway.enclave)
    }
  })

  function signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    network.children.chain.process.kill(name)
    network.children.aggregator.process.kill(name)
  }

  async function medianAnswerMs(): Promise<number> {
    const times: number[] = []
    for (let i = 0; i < 3; i++) {
      const begun = performance.now()
      await askStreaming('Hello')
      times.push(performance.now() - begun)
    }
    return times.toSorted((a, b) => a - b)[1] ?? Number.NaN
  }
})

async function write(
  from: AccountName,
  address: `0x${string}`,
  abi: readonly unknown[],
  functionName: string,
  args: readonly unknown[],
): Promise<void> {
  const wallet = network.wallet(from)
  const hash = await wallet.writeContract({
    address,
    abi,
    functionName,
    args,
    chain: wallet.chain ?? null,
    account: wallet.account ?? null,
  } as never)
  const receipt = await network.client.waitForTransactionReceipt({ hash })
  expect(receipt.status).toBe('success')
}
