/** TLS servers with certificates of a CA made here: who is let in by name, CA and key. @module */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTrustingAgent, pinOf, type TlsTrust } from './pinnedTls.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-tls-'))
const file = (name: string): string => join(folder, name)
const read = (name: string): string => readFileSync(file(name), 'utf8')
let server: Server
let port = 0

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
}

function makeCa(name: string): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  )
}

beforeAll(async () => {
  makeCa('ca')
  makeCa('other')
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=model',
    '-keyout',
    'model.key',
    '-out',
    'model.csr',
  )
  writeFileSync(file('names'), 'subjectAltName=DNS:localhost\n')
  openssl(
    'x509',
    '-req',
    '-in',
    'model.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-days',
    '1',
    '-extfile',
    'names',
    '-out',
    'model.pem',
  )
  server = createServer({ key: read('model.key'), cert: read('model.pem') }, (_, response) => response.end('here'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})

afterAll(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true })
})

function ask(trust: TlsTrust, host = 'localhost'): Promise<string> {
  return new Promise((resolve, reject) => {
    const agent = createTrustingAgent(trust, 1_000)
    const sent = request({ host: '127.0.0.1', servername: host, port, agent }, (response) => {
      response.setEncoding('utf8')
      response.once('data', resolve)
    })
    sent.once('error', reject)
    sent.end()
  })
}

it('lets in a server that its CA vouches for', async () => {
  await expect(ask({ ca: read('ca.pem'), pins: [] })).resolves.toBe('here')
})

it("takes a pin of the server's own key, or of one that vouches for it", async () => {
  const ca = read('ca.pem')
  await expect(ask({ ca, pins: [pinOf(read('model.pem'))] })).resolves.toBe('here')
  await expect(ask({ ca, pins: [pinOf(read('other.pem')), pinOf(ca)] })).resolves.toBe('here')
})

it('refuses a server whose keys are others than those pinned, although its CA is trusted', async () => {
  await expect(ask({ ca: read('ca.pem'), pins: [pinOf(read('other.pem'))] })).rejects.toThrow(
    /no certificate of .* is pinned/,
  )
})

it('refuses another CA and another name, pinned or not', async () => {
  const pins = [pinOf(read('model.pem'))]
  await expect(ask({ ca: read('other.pem'), pins })).rejects.toThrow(/unable to verify|signature|issuer/)
  await expect(ask({ pins })).rejects.toThrow(/unable to verify|issuer/)
  await expect(ask({ ca: read('ca.pem'), pins }, 'elsewhere')).rejects.toThrow(/does not match/)
})

it('writes pins as openssl does', () => {
  const key = execFileSync('openssl', ['x509', '-in', 'model.pem', '-noout', '-pubkey'], { cwd: folder })
  const der = execFileSync('openssl', ['pkey', '-pubin', '-outform', 'der'], { cwd: folder, input: key })
  const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: der })
  expect(pinOf(read('model.pem'))).toBe(digest.toString('base64'))
})

it.each(['', 'abc', `sha256/${'A'.repeat(43)}=`, `${'A'.repeat(44)}`])('refuses %j as a pin', (pin) => {
  expect(() => createTrustingAgent({ pins: [pin] }, 1_000)).toThrow(TypeError)
})
