/**
 * The doors of an image. An enclave has no network, only vsock to its host: for each port that the role listens on, and for each server that its
 * configuration names, two bridges of socat meet there, one inside and one on the host. Both read the same table, which is made here.
 *
 *     in PORT public|agent                  host TCP -> vsock PORT -> 127.0.0.1:PORT inside
 *     out VSOCKPORT LOOPBACK NAME PORT      LOOPBACK:PORT inside -> vsock VSOCKPORT -> NAME:PORT
 *
 * @module
 */
import { isIP } from 'node:net'
import * as v from 'valibot'
import { parseShape, type Schema } from '#protocol/wire/json.ts'
import { ImageError } from './imageError.ts'

export type Door =
  | { readonly kind: 'in'; readonly port: number; readonly face: 'public' | 'agent' }
  /** `loopback`: the address that stands for `name` inside. */
  | {
      readonly kind: 'out'
      readonly vsockPort: number
      readonly loopback: string
      readonly name: string
      readonly port: number
    }

/**
 * The port on the host at which `nitro-cli` waits for the enclave's first word. Behind it 9,001, at which `init` asks for the host's settings.
 */
const HEARTBEAT_PORT = 9_000
/** The first of the ports on the host that lead out. */
const FIRST_OUT_PORT = 9_100
const NAMES_MAX = 250

/**
 * The doors of a role with this configuration: its `listen` and `agentListen`, and every server that any URL in it names.
 * Throws `ImageError` (`BAD_CONFIG`).
 */
export function planDoors(config: unknown): readonly Door[] {
  const { listen, agentListen } = parseShape(ListensSchema, config, 'configuration')
  for (const [name, { host, port }] of Object.entries({ listen, agentListen })) {
    if (!INSIDE_HOSTS.has(host)) {
      throw bad(`${name}.host: expected 127.0.0.1, which the bridge inside the image reaches, got ${host}`)
    }
    // Below 1,024 only root may listen, on TCP and on vsock, and no bridge is root.
    if (port < 1_024)
      throw bad(`${name}.port: expected at least 1024 inside an image, got ${port}; the host's may differ`)
    if (port >= HEARTBEAT_PORT && port < FIRST_OUT_PORT + NAMES_MAX) {
      throw bad(`${name}.port: expected a port outside ${HEARTBEAT_PORT} to ${FIRST_OUT_PORT + NAMES_MAX - 1}`)
    }
  }
  if (listen.port === agentListen.port) throw bad('listen.port and agentListen.port: expected two ports')
  return [
    { kind: 'in', port: listen.port, face: 'public' },
    { kind: 'in', port: agentListen.port, face: 'agent' },
    ...planOut(findServers(config)),
  ]
}

/** The table, one door a line. */
export function writeDoors(doors: readonly Door[]): string {
  return doors
    .map((door) =>
      door.kind === 'in'
        ? `in ${door.port} ${door.face}\n`
        : `out ${door.vsockPort} ${door.loopback} ${door.name} ${door.port}\n`,
    )
    .join('')
}

/** `/etc/hosts` of the image: there is no other way to look up a name in it. */
export function writeHosts(doors: readonly Door[]): string {
  const names = new Map(doors.flatMap((door) => (door.kind === 'out' ? [[door.name, door.loopback] as const] : [])))
  const lines = [...names]
    .filter(([name, loopback]) => name !== loopback)
    .map(([name, address]) => `${address} ${name}\n`)
  return ['127.0.0.1 localhost\n', ...lines].join('')
}

/** A server that is reached from inside. */
type Server = { readonly name: string; readonly port: number }

const INSIDE_HOSTS: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '0.0.0.0'])
const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'http:': 80,
  'https:': 443,
  'postgres:': 5_432,
  'postgresql:': 5_432,
}

const listenSchema: Schema<{ host: string; port: number }> = v.object({
  host: v.string(),
  port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
})
const ListensSchema: Schema<{
  listen: { host: string; port: number }
  agentListen: { host: string; port: number }
}> = v.object({ listen: listenSchema, agentListen: listenSchema })

/** Every server named by a URL anywhere in `value`, once, in the order of names and ports: the order in a file must not matter. */
function findServers(value: unknown): readonly Server[] {
  const found = new Map<string, Server>()
  const visit = (node: unknown): void => {
    if (typeof node === 'string') {
      const server = readServer(node)
      if (server !== undefined) found.set(`${server.name} ${server.port}`, server)
    } else if (typeof node === 'object' && node !== null) Object.values(node).forEach(visit)
  }
  visit(value)
  return [...found.values()].sort((a, b) => (a.name === b.name ? a.port - b.port : a.name < b.name ? -1 : 1))
}

/** The server of a URL; undefined for a text that is none, and for a server inside the image itself. */
function readServer(text: string): Server | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const defaultPort = url && DEFAULT_PORTS[url.protocol]
  if (url === undefined || defaultPort === undefined) return undefined
  const name = url.hostname
  if (name === 'localhost' || name.startsWith('127.') || name === '[::1]') return undefined
  if (url.password !== '') throw bad(`the URL of ${name} has a password in it: an image holds no secret`)
  if (name.startsWith('[')) throw bad(`${name}: expected a name or an IPv4 address; IPv6 addresses are not bridged`)
  if (!/^[a-z0-9.-]{1,253}$/.test(name))
    throw bad(`${name}: expected a server name of letters, digits, dots and hyphens`)
  return { name, port: url.port === '' ? defaultPort : Number(url.port) }
}

/** Each name gets a loopback address, each server a vsock port. An address stands for itself: `init` gives it to the loopback device. */
function planOut(servers: readonly Server[]): readonly Door[] {
  const names = [...new Set(servers.map(({ name }) => name))]
  if (servers.length > NAMES_MAX) throw bad(`expected at most ${NAMES_MAX} servers, got ${servers.length}`)
  return servers.map(({ name, port }, index) => ({
    kind: 'out',
    vsockPort: FIRST_OUT_PORT + index,
    loopback: isIP(name) === 4 ? name : `127.0.1.${names.indexOf(name) + 1}`,
    name,
    port,
  }))
}

function bad(message: string): ImageError {
  return new ImageError('BAD_CONFIG', message)
}
