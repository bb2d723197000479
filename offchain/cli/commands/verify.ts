/** `sealpath verify`: checks a receipt or a proof bundle, and says of each step whether it holds. @module */
import { readFileSync } from 'node:fs'
import { createPublicClient, http, type PublicClient } from 'viem'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { readEnclaveState } from '#chain/registry.ts'
import { decodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { WireError } from '#protocol/wire/json.ts'
import { parseProofBundle, parseReceiptFile, type ReceiptFile, type SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { checkSettled } from '../../sdk/sealedReceipt.ts'
import { addressOf, type Command, readArguments, UsageError } from '../command.ts'

export const verify: Command = {
  name: 'verify',
  summary: 'Check a receipt.json or a proof bundle',
  usage: `usage: sealpath verify [options] FILE

  --rpc URL           also ask the chain: is the enclave in good standing, is the proof settled
  --registry ADDRESS  the registry you trust; without it the one that the receipt names is shown, not trusted
  --output            print the answer that the receipt opens

Exit code 0 only if every check that could be made holds.`,
  async run(args) {
    const { values, positionals } = readArguments({
      args,
      allowPositionals: true,
      options: {
        rpc: { type: 'string' },
        registry: { type: 'string' },
        output: { type: 'boolean', default: false },
      },
    })
    const [path, ...more] = positionals
    if (path === undefined || more.length > 0) throw new UsageError('give one file')
    const { receipt, settled } = readFile(path)
    const checks = new Checks()
    const verdict = verifyReceipt(receipt)
    checks.note('in the log of its enclave', verdict.ok, verdict.ok ? `leaf ${toHex(verdict.leaf)}` : verdict.message)
    if (verdict.ok && receipt.openings !== undefined) {
      checks.note('commitments', true, 'request, answer, nonce and tool calls match')
    }
    if (values.registry !== undefined) {
      const trusted = addressOf(values.registry, '--registry').toLowerCase() === receipt.registry
      checks.note('registry', trusted, trusted ? receipt.registry : `the receipt names ${receipt.registry}`)
    }
    if (values.rpc !== undefined && verdict.ok) {
      await checkOnChain(checks, receipt, settled, toHex(verdict.leaf), values.rpc)
    }
    const unchecked = [
      ...(receipt.openings === undefined ? ['Not in this file: what opens the commitments.'] : []),
      ...(values.rpc === undefined ? ['Not asked: the chain (give --rpc).'] : []),
    ]
    checks.print(unchecked.join(' '))
    if (values.output && receipt.openings !== undefined) {
      process.stdout.write(`${decodeUtf8(receipt.openings.output.data)}\n`)
    }
    return checks.haveAllPassed ? 0 : 1
  },
}

function readFile(path: string): { receipt: ReceiptFile; settled: SettledLeaf | undefined } {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    // Whatever the reason, the file is what the person has to look at.
    throw new Error(`cannot read ${path}`)
  }
  try {
    if (text.includes('"sealpath-proof/1"')) {
      const bundle = parseProofBundle(text)
      return { receipt: bundle.receipt, settled: bundle.settled }
    }
    return { receipt: parseReceiptFile(text), settled: undefined }
  } catch (cause) {
    if (cause instanceof WireError) throw new Error(`${path} is not a receipt: ${cause.message}`, { cause })
    throw cause
  }
}

async function checkOnChain(
  checks: Checks,
  receipt: ReceiptFile,
  settled: SettledLeaf | undefined,
  leaf: Hex,
  rpcUrl: string,
): Promise<void> {
  const client = createPublicClient({ transport: http(rpcUrl) }) as PublicClient
  const chainId = await client.getChainId().catch(() => {
    throw new Error(`no answer from ${rpcUrl}`)
  })
  checks.note('chain', chainId === receipt.chainId, `${chainId}, receipt says ${receipt.chainId}`)
  if (chainId !== receipt.chainId) return
  const { enclave } = receipt.public
  const state = await readEnclaveState(client, receipt.registry, enclave)
  checks.note('enclave', state !== 'none' && state !== 'compromised', `${enclave} is ${state}`)
  const bound = await client.readContract({
    address: receipt.registry,
    abi: enclaveRegistryAbi,
    functionName: 'settlement',
  })
  checks.note('settlement contract', bound.toLowerCase() === receipt.settlement, bound)
  if (settled === undefined) return
  try {
    await checkSettled({ client, settlement: receipt.settlement }, leaf, enclave, settled)
    checks.note('settled', true, `batch ${settled.batch}, block ${settled.block}`)
  } catch (error) {
    checks.note('settled', false, error instanceof Error ? error.message : 'unknown')
  }
}

class Checks {
  readonly #lines: string[] = []
  haveAllPassed = true

  note(name: string, passed: boolean, detail: string): void {
    if (!passed) this.haveAllPassed = false
    this.#lines.push(`  ${passed ? 'ok    ' : 'FAILED'}  ${name.padEnd(26)}${detail}`)
  }

  print(note: string): void {
    const verdict = this.haveAllPassed ? 'The receipt holds.' : 'The receipt does NOT hold.'
    process.stdout.write(`${this.#lines.join('\n')}\n\n${verdict}${note === '' ? '' : ` ${note}`}\n`)
  }
}
