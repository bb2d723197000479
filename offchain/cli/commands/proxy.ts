/** `sealpath proxy`: sealed inference for any program that speaks to OpenAI. @module */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { startServer } from '#node/server.ts'
import { connect } from '../../sdk/connect.ts'
import { type Command, readArguments, showProgress, UsageError } from '../command.ts'
import { createProxyApp } from '../proxy/proxyApp.ts'
import { saveReceipt } from '../proxy/receiptFolder.ts'
import { readSecret } from '../proxy/secretFile.ts'
import { openFunds } from '../walletFunds.ts'
import { networkOf, PURCHASE_OPTIONS, WALLET_OPTIONS } from '../walletOptions.ts'

const PORT = 8_788
const DRAIN_MS = 10_000

export const proxy: Command = {
  name: 'proxy',
  summary: 'Serve sealed inference to any program on this machine that speaks to OpenAI',
  usage: `usage: sealpath proxy [options]

Then give a program the base URL and the API key that are shown: OPENAI_BASE_URL and OPENAI_API_KEY. Runs until Ctrl-C.

  --port N           on 127.0.0.1; ${PORT} unless told, 0 for any
  --receipts FOLDER  where receipts are kept, ~/.sealpath/receipts unless told
  --secret-file FILE what programs must send as their API key; made when it is missing, ~/.sealpath/proxy-secret unless told
  --origin URL       a web page that may use it, like http://localhost:3000; may be given again
  --rpc URL          JSON-RPC endpoint of the chain         (SEALPATH_RPC)
  --relay URL        the relay                              (SEALPATH_RELAY)
  --registry ADDRESS EnclaveRegistry                        (SEALPATH_REGISTRY)
  --padding MODE     private (default), balanced or off
  --wallet FILE      pays from this wallet                  (SEALPATH_WALLET)
  --passphrase-file FILE   asked on the terminal if neither is given   (SEALPATH_PASSPHRASE)
  --top-up AMOUNT    buys 1, 10 or 100 OPG when less than a tenth of it is left; needs --key-file and --top-up-limit
  --top-up-limit AMOUNT    what may be bought so in 30 days at most
  --key-file FILE    private key of the account that --top-up pays from (SEALPATH_KEY_FILE)
  --purchase-relay URL     another relay for --top-up       (SEALPATH_PURCHASE_RELAY)`,
  async run(args) {
    const { values } = readArguments({
      args,
      options: {
        rpc: { type: 'string' },
        relay: { type: 'string' },
        registry: { type: 'string' },
        port: { type: 'string', default: String(PORT) },
        receipts: { type: 'string', default: join(homedir(), '.sealpath', 'receipts') },
        'secret-file': { type: 'string', default: join(homedir(), '.sealpath', 'proxy-secret') },
        origin: { type: 'string', multiple: true, default: [] },
        padding: { type: 'string', default: 'private' },
        'top-up': { type: 'string' },
        'top-up-limit': { type: 'string' },
        ...WALLET_OPTIONS,
        ...PURCHASE_OPTIONS,
      },
    })
    const { padding } = values
    if (padding !== 'private' && padding !== 'balanced' && padding !== 'off') {
      throw new UsageError('--padding is private, balanced or off')
    }
    const port = Number(values.port)
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new UsageError('--port is a number from 0 to 65535')
    const origins = values.origin.map(originOf)
    const network = networkOf(values)
    const secret = readSecret(values['secret-file'])
    const funds = await openFunds(values)
    try {
      const connected = showProgress('reading the registry and checking evidence')
      const sealed = await connect({ ...network, padding, ...funds?.options })
      connected()
      const hosts: string[] = []
      const onFault = (error: unknown) => say(error instanceof Error ? error.message : 'an answer failed')
      const app = createProxyApp({
        sealed,
        secret,
        hosts,
        origins,
        onReceipt: (receipt) => {
          saveReceipt(values.receipts, { leaf: receipt.leaf, json: receipt.toJson(), now: new Date() })
        },
        onFault,
      })
      const server = await startServer(app, { host: '127.0.0.1', port })
      const { host, port: listening } = new URL(server.url)
      hosts.push(host, `localhost:${listening}`)
      process.stdout.write(`export OPENAI_BASE_URL=${server.url}/v1\nexport OPENAI_API_KEY=${secret}\n`)
      const { enclave, operator, isDevelopment } = sealed.gateway
      const kind = isDevelopment ? 'a development enclave, which proves no hardware' : 'AWS Nitro'
      say(`answers come from ${enclave} of ${operator}: ${kind}; receipts go to ${values.receipts}`)
      await interrupted()
      say('finishing what was begun')
      await server.close(DRAIN_MS)
      await sealed.idle()
      return 0
    } finally {
      await funds?.close()
    }
  },
}

function originOf(text: string): string {
  const origin = URL.canParse(text) ? new URL(text).origin : 'null'
  if (origin === 'null') throw new UsageError(`--origin is like http://localhost:3000, not ${text}`)
  return origin
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
