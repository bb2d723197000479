/** Questions for a relay. @module */
import { join } from 'node:path'
import { RelayConfigSchema } from '../../relay/config.ts'
import { readList, readListen, readText, readUrl } from './answers.ts'
import { AnswerError, type Interview } from './interview.ts'
import { type Plan, plannedConfig } from './plan.ts'

export async function planRelay(interview: Interview, folder: string): Promise<Plan> {
  const listen = await interview.ask({
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
  const config = { listen, operator, gateways, ...(header === undefined ? {} : { clientAddressHeader: header }) }
  const file = join(folder, 'relay.json')
  return {
    files: [plannedConfig(file, RelayConfigSchema, config)],
    notes: [`Start it: sealpath relay --config ${file}`],
  }
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
