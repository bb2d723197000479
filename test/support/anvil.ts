/** Anvil from npm: a second EVM, which refuses a call in milliseconds where Hardhat's makes a stack trace first. @module */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Hex } from '#protocol/bytes.ts'
import { freePort } from './freePort.ts'

export type Anvil = {
  readonly rpcUrl: string
  /** Sends one JSON-RPC request. Throws `RpcError` for an error the node answers. */
  request(method: string, params: readonly unknown[]): Promise<unknown>
  close(): Promise<void>
}

/** The error of a JSON-RPC answer; `data` is what a reverted call returned. */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly data: Hex | undefined
  constructor(message: string, data: Hex | undefined) {
    super(message)
    this.data = data
  }
}

const START_MS_MAX = 30_000
const POLL_MS = 50

export type AnvilOptions = {
  /** 31337 unless told. */
  readonly chainId?: number
  /** Makes a block every second besides, and calls those final that are two older. */
  readonly isTicking?: boolean
  /** Whose rules it follows: Osaka's unless told. */
  readonly hardfork?: string
}

/**
 * A chain on a free port, its clock starting at `timestamp` (seconds since the epoch). No transaction may use more than 16,777,216 gas (EIP-7825).
 */
export async function startAnvil(timestamp: number, options: AnvilOptions = {}): Promise<Anvil> {
  const port = await freePort()
  const rpcUrl = `http://127.0.0.1:${port}`
  const cli = fileURLToPath(import.meta.resolve('@foundry-rs/anvil/bin.mjs'))
  const args = [
    '--port',
    `${port}`,
    '--hardfork',
    options.hardfork ?? 'osaka',
    '--enable-tx-gas-limit',
    '--timestamp',
    `${timestamp}`,
    '--silent',
    ...(options.chainId === undefined ? [] : ['--chain-id', `${options.chainId}`]),
    ...(options.isTicking === true ? ['--block-time', '1', '--mixed-mining', '--slots-in-an-epoch', '1'] : []),
  ]
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  const request = (method: string, params: readonly unknown[]) => post(rpcUrl, method, params)
  const deadline = performance.now() + START_MS_MAX
  while (!(await isUp(request))) {
    if (child.exitCode !== null) throw new Error(`anvil ended with code ${child.exitCode}`)
    if (performance.now() > deadline) throw new Error(`anvil did not answer within ${START_MS_MAX} ms`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return { rpcUrl, request, close: () => stop(child) }
}

async function post(rpcUrl: string, method: string, params: readonly unknown[]): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(rpcUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const answer = (await response.json()) as { result?: unknown; error?: { message: string; data?: unknown } }
  if (answer.error === undefined) return answer.result
  const { message, data } = answer.error
  throw new RpcError(message, typeof data === 'string' && data.startsWith('0x') ? (data as Hex) : undefined)
}

async function isUp(request: Anvil['request']): Promise<boolean> {
  try {
    await request('eth_chainId', [])
    return true
  } catch {
    // Not listening yet.
    return false
  }
}

function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}
