/** Questions for a relay. @module */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { RelayConfigSchema, type RelayedGateway } from '../../relay/config.ts'
import { readList, readListen, readText, readUrl } from './answers.ts'
import { AnswerError, type Interview } from './interview.ts'
import { type Plan, plannedConfig } from './plan.ts'
import { askTls } from './tlsAnswer.ts'

export async function planRelay(interview: Interview, folder: string): Promise<Plan> {
  const address = await interview.ask({
    key: 'listen',
    text: 'Where clients reach it',
    initial: '0.0.0.0:8080',
    parse: readListen,
  })
  const operator = await interview.ask({
    key: 'operator',
    text: 'Who runs it, as clients are told: a name or a domain',
    parse: readText,
  })
  const gateways = await interview.ask({
    key: 'gateways',
    text: 'Gateways behind it as name=URL, with commas',
    parse: readGateways,
  })
  const header = await interview.ask({
    key: 'client-address-header',
    text: 'Header in which a TLS terminator before it states the client, or none',
    initial: 'none',
    parse: (answer) => (answer === 'none' ? undefined : answer.toLowerCase()),
  })
  const { listen, notes } = await askTls(interview, folder, { listen: address, isTerminated: header !== undefined })
  const config = {
    listen,
    operator,
    gateways: await withAuthority(interview, gateways),
    ...(header === undefined ? {} : { clientAddressHeader: header }),
  }
  const file = join(folder, 'relay.json')
  return {
    files: [plannedConfig(file, RelayConfigSchema, config)],
    notes: [...notes, `Start it: sealpath relay --config ${file}`],
  }
}

/** Gateways behind https with the file that their certificates must come from, where it is a private one. */
async function withAuthority(
  interview: Interview,
  gateways: readonly RelayedGateway[],
): Promise<readonly RelayedGateway[]> {
  if (!gateways.some(({ url }) => url.startsWith('https:'))) return gateways
  const caFile = await interview.ask({
    key: 'gateway-ca',
    text: 'File with the private authority of the gateways, or with certificates that signed themselves; or none',
    initial: 'none',
    parse(answer) {
      if (answer === 'none') return undefined
      const file = resolve(answer)
      if (!existsSync(file)) throw new AnswerError(`there is no file ${file}`)
      return file
    },
  })
  if (caFile === undefined) return gateways
  return gateways.map((gateway) => (gateway.url.startsWith('https:') ? { ...gateway, caFile } : gateway))
}

function readGateways(answer: string): { name: string; url: string }[] {
  const gateways = readList(answer).map((part) => {
    const [, name, url] = /^([a-z0-9-]{1,64})=(.+)$/.exec(part) ?? []
    if (name === undefined || url === undefined) {
      throw new AnswerError('expected name=URL, the name of a-z, 0-9 and hyphens')
    }
    return { name, url: readUrl(url) }
  })
  if (gateways.length === 0) throw new AnswerError('expected a gateway at least')
  if (new Set(gateways.map(({ name }) => name)).size < gateways.length)
    throw new AnswerError('two gateways of one name')
  return gateways
}
