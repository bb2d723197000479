/** The published package: packed, installed into an empty folder, used as a stranger would. @module */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** What a page loads for a chat, gzipped. Wallet and substitute algorithms come when they are needed. */
const BROWSER_GZIP_BYTES_MAX = 60_000
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-package-'))
  execFileSync('npm', ['pack', '--pack-destination', folder], { cwd: ROOT, stdio: 'pipe' })
  const [tarball] = readdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{"name":"stranger","version":"1.0.0","type":"module"}\n')
  execFileSync('npm', ['install', '--no-audit', '--no-fund', `./${tarball}`], { cwd: folder, stdio: 'pipe' })
}, 300_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs on the Node that the project pins, in the stranger's folder. */
function runNode(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
}

describe('the package', () => {
  it('brings the sealpath command', () => {
    const { status, stdout } = runNode(['node_modules/.bin/sealpath', '--help'])
    expect(stdout).toContain('chat')
    expect(status).toBe(0)
  })

  it('answers wrong usage with exit code 2 and a missing file with 1', () => {
    expect(runNode(['node_modules/.bin/sealpath', 'verify']).status).toBe(2)
    const missing = runNode(['node_modules/.bin/sealpath', 'verify', 'nothing.json'])
    expect(missing.stderr).toContain('cannot read nothing.json')
    expect(missing.status).toBe(1)
  })

  it('says in one sentence that deploying needs a checkout', () => {
    const address = `0x${'11'.repeat(20)}`
    const args = ['node_modules/.bin/sealpath', 'deploy', '--network', 'localhost', '--protocol', address]
    expect(runNode(args).stderr).toContain('needs a checkout of the repository')
  })

  it('starts a role from its configuration', () => {
    writeFileSync(join(folder, 'relay.json'), '{"listen":{"host":"127.0.0.1","port":0}}')
    const { status, stderr } = runNode(['node_modules/.bin/sealpath', 'relay', '--config', 'relay.json'])
    expect(stderr).toContain('operator: expected text of 1 to 128 characters; there is nothing')
    expect(status).toBe(1)
  })

  it('exports the client, the receipt checks, the ABIs and the contracts', () => {
    const script = `
      import { createRequire } from 'node:module'
      import { connect } from 'sealpath'
      import { parseReceiptFile } from 'sealpath/receipt'
      import { verifyReceipt } from 'sealpath/verify'
      import { settledProofArgument } from 'sealpath/proof'
      import { receiptSettlementAbi } from 'sealpath/abis'
      const contract = createRequire(import.meta.url).resolve('sealpath/contracts/libraries/InferenceProofs.sol')
      const kinds = [connect, parseReceiptFile, verifyReceipt, settledProofArgument].map((each) => typeof each)
      console.log(JSON.stringify({ kinds, abi: receiptSettlementAbi.length > 10, contract: contract.endsWith('.sol') }))
    `
    const { stdout, stderr } = runNode(['--input-type=module', '-e', script])
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({
      kinds: ['function', 'function', 'function', 'function'],
      abi: true,
      contract: true,
    })
  })

  it('brings a client for browsers, in one file within its budget', () => {
    const path = join(folder, 'node_modules/sealpath/dist/browser/sealpath.js')
    const text = readFileSync(path, 'utf8')
    expect(gzipSync(text).length).toBeLessThan(BROWSER_GZIP_BYTES_MAX)
    // It needs no other file, and loads two when they are needed.
    expect(text).not.toMatch(/(?:^|[;}\n])\s*(?:import|export)\s*[\w*{"'][^;]*?\bfrom\s*["']/)
    const loaded = [...text.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g)].map(([, file]) => file)
    expect(loaded.toSorted()).toEqual(['./hpke-noble.js', './wallet.js'])
    const script = `
      import { connect, SealpathError } from 'sealpath/browser'
      import { WalletAccount } from 'sealpath/browser/wallet'
      const refusal = await connect({ rpcUrl: [], relayUrl: 'http://127.0.0.1:9' }).catch((error) => error)
      const { openPayer } = await import('sealpath/browser/wallet')
      console.log(JSON.stringify([refusal instanceof SealpathError, refusal.code, typeof WalletAccount, typeof openPayer]))
    `
    const { stdout, stderr } = runNode(['--input-type=module', '-e', script])
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual([true, 'CHAIN_FAILED', 'function', 'function'])
  })

  it('has types that a strict project accepts', () => {
    writeFileSync(
      join(folder, 'app.ts'),
      `import { connect, SealpathError, type GatewayPolicy, type SealedClient } from 'sealpath'
       import { connect as connectInBrowser } from 'sealpath/browser'
       import { WalletAccount } from 'sealpath/browser/wallet'
       export const policy: GatewayPolicy = {
         models: { demo: { sources: ['measured'], priceLimit: { requestUnits: 100n } } },
       }
       export const same: typeof connect = connectInBrowser
       export const codeOf = (error: unknown): string => (error instanceof SealpathError ? error.code : '')
       export type Account = WalletAccount
       export async function ask(): Promise<Response> {
         const sealed: SealedClient = await connect({ rpcUrl: '', relayUrl: '', registry: '0x00' })
         return sealed.fetch(sealed.baseURL)
       }
       // @ts-expect-error the registry is required
       void connect({ rpcUrl: '', relayUrl: '' })\n`,
    )
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--skipLibCheck',
      '--pretty',
      'false',
    ]
    const { status, stdout } = runNode([
      compiler,
      ...options,
      '--lib',
      'es2024,dom,dom.iterable',
      '--types',
      '',
      'app.ts',
    ])
    expect(stdout).toBe('')
    expect(status).toBe(0)
  })
})
