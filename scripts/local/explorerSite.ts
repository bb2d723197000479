/** The explorer of the local network: built by Vite, and served on this machine with that network as its sources. @module */
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, relative, sep } from 'node:path'
import type { Deployment } from '#chain/deployment.ts'
import { toJson } from '#protocol/wire/json.ts'
import { REPOSITORY } from './contracts.ts'
import { StartError } from './processes.ts'

export type ExplorerSite = { readonly url: string; close(): void }

export type ExplorerSources = {
  readonly rpcUrl: string
  readonly aggregatorUrl: string
  readonly relayUrl: string
  readonly deployment: Deployment
}

const HOST = '127.0.0.1'
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
}

/** Builds the pages into `folder`, which is made, and serves them until `close`. Throws `StartError`. */
export async function serveExplorer(folder: string, port: number, sources: ExplorerSources): Promise<ExplorerSite> {
  try {
    // Only who opens the pages waits for what builds them.
    const { build } = await import('vite')
    const configFile = join(REPOSITORY, 'offchain/explorer/vite.config.ts')
    await build({ configFile, logLevel: 'error', build: { outDir: folder } })
  } catch (cause) {
    throw new StartError('the explorer does not build: try npm run explorer:build', { cause })
  }
  const files = readFiles(folder)
  const config = Buffer.from(toJson(sources))
  files.set('/explorer.json', { type: 'application/json', bytes: config })
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://explorer').pathname
    const file = files.get(path === '/' ? '/index.html' : path)
    response.writeHead(file === undefined ? 404 : 200, { 'content-type': file?.type ?? 'text/plain' })
    response.end(file?.bytes)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new StartError(`port ${port} (explorer) cannot be used`, { cause })))
    server.listen(port, HOST, () => resolve())
  })
  return {
    url: `http://${HOST}:${port}/`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

type ServedFile = { readonly type: string; readonly bytes: Buffer }

/** By their paths, each beginning with a slash: nothing else is served, whatever is asked for. */
function readFiles(folder: string): Map<string, ServedFile> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    entries.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      const type = TYPES[extname(name)] ?? 'application/octet-stream'
      return [`/${relative(folder, path).split(sep).join('/')}`, { type, bytes: readFileSync(path) }]
    }),
  )
}
