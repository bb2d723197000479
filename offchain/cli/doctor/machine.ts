/** What a role finds on its own machine: Node.js, files, ports, room on the disk. @module */
import { X509Certificate } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, resolve } from 'node:path'
import { exposedFiles, findMissingFiles, namedFiles } from '#node/config/configFiles.ts'
import type { TlsFiles } from '#node/config/listen.ts'
import { readCertificate } from '#node/tls.ts'
import { ask } from './ask.ts'
import { duration, type Finding, failed, firstLine, ok, warn } from './finding.ts'
import { type Port, type Subject, urlOf } from './subject.ts'

const NODE_MAJOR_MIN = 20
const DISK_BYTES_MIN = 1_073_741_824
/** Time enough to renew a certificate by hand. */
export const CERTIFICATE_SECONDS_MIN: number = 14 * 86_400

export function checkNode(version: string = process.versions.node): Finding {
  const found = `Node.js ${version}`
  if (Number.parseInt(version, 10) >= NODE_MAJOR_MIN) return ok('node', found)
  return failed('node', found, `install Node.js ${NODE_MAJOR_MIN} or newer`)
}

/** The files that a configuration names: a line for each that is missing or open to others, one line if there is none. */
export function checkFiles(config: unknown): readonly Finding[] {
  const missing = findMissingFiles(config).map(({ place, sentence }) =>
    failed(`file of ${place}`, sentence, 'put it there, or correct the setting'),
  )
  const exposed = exposedFiles(config).map(({ place, file }) =>
    warn(`file of ${place}`, `${file} may be read by others than its owner`, `run chmod 600 ${file}`),
  )
  const count = namedFiles(config).length
  const bad = [...missing, ...exposed]
  return bad.length > 0 ? bad : [ok('files', count === 0 ? 'it names none' : `${count}, as they should be`)]
}

/** The role's own certificates. */
export function checkCertificates({ ports }: Subject, nowSeconds: number): readonly Finding[] {
  return ports.flatMap(({ setting, listen: { tls } }) => {
    const isThere = tls !== undefined && existsSync(tls.certificateFile) && existsSync(tls.keyFile)
    return isThere ? [checkCertificate(`certificate of ${setting}`, tls, nowSeconds)] : []
  })
}

function checkCertificate(what: string, tls: TlsFiles, nowSeconds: number): Finding {
  try {
    const { cert } = readCertificate(tls)
    return endFinding(what, Date.parse(new X509Certificate(cert).validTo) / 1000, nowSeconds)
  } catch (error) {
    return failed(what, firstLine(error), 'put a certificate and its key there')
  }
}

/** When a certificate ends, and whether that is soon. */
export function endFinding(what: string, end: number, nowSeconds: number): Finding {
  const left = end - nowSeconds
  if (left <= 0) return failed(what, `it ended ${duration(left)} ago`, 'renew it')
  const found = `it ends in ${duration(left)}`
  return left < CERTIFICATE_SECONDS_MIN ? warn(what, found, 'renew it') : ok(what, found)
}

/** Free, or held by this very role. */
export async function checkPort(port: Port): Promise<Finding> {
  const { setting, listen } = port
  const what = `port of ${setting}`
  const place = `${listen.host}:${listen.port}`
  if (listen.port === 0) return ok(what, 'any that is free')
  const code = await tryListening(listen.host, listen.port)
  if (code === undefined) return ok(what, `${place} is free: the role does not run`)
  if (code === 'EACCES')
    return failed(what, `${place} needs rights that this user has not`, 'choose a port from 1024 on')
  if (code !== 'EADDRINUSE') {
    return failed(what, `nobody can listen on ${place} here (${code})`, 'name an address of this machine')
  }
  return (await isOwn(port))
    ? ok(what, `${place} is held by this role, which runs`)
    : failed(what, `${place} is held by another program`, 'stop that or choose another port')
}

function tryListening(host: string, port: number): Promise<string | undefined> {
  return new Promise((done) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'unknown'))
    probe.listen(port, host, () => probe.close(() => done(undefined)))
  })
}

async function isOwn({ listen, path, sign }: Port): Promise<boolean> {
  const base = urlOf(listen)
  try {
    const { status, body } = await ask(new URL(path, base), { isOwn: true })
    if (new TextDecoder().decode(body).toLowerCase().includes(sign.toLowerCase())) return true
    // An enclave that has just booted has no evidence yet.
    return (
      path === '/evidence' && status === 503 && (await ask(new URL('/healthz', base), { isOwn: true })).status === 200
    )
  } catch {
    // Whatever is there speaks another language.
    return false
  }
}

/** Room for data, and the right to write it. The folder may be there only later. */
export function checkFolder({ setting, folder }: Subject['folders'][number]): Finding {
  const what = `disk of ${setting}`
  let there = resolve(folder)
  while (!existsSync(there)) there = dirname(there)
  try {
    accessSync(there, constants.W_OK)
  } catch {
    return failed(what, `this user may not write in ${there}`, 'change its owner, or choose another folder')
  }
  const { bavail, bsize } = statfsSync(there)
  const found = `${((Number(bavail) * Number(bsize)) / DISK_BYTES_MIN).toFixed(1)} GiB free at ${there}`
  return Number(bavail) * Number(bsize) < DISK_BYTES_MIN
    ? failed(what, found, 'make room: it needs 1 GiB')
    : ok(what, found)
}

/** A PEM file's text, undefined when it cannot be read: `checkFiles` says so. */
export function readPem(file: string | undefined): string | undefined {
  if (file === undefined || !existsSync(file)) return undefined
  return readFileSync(file, 'utf8')
}
