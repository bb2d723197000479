/** Questions for a gateway and its operator agent. @module */
import { join } from 'node:path'
import { parseOpg } from '#protocol/credits/amounts.ts'
import type { ClaimSource } from '#protocol/receipt/receipt.ts'
import { type MeasuredFile, sha256Of } from '../../../gateway/backends/measuredFiles.ts'
import { MODEL_SERVERS } from '../../../gateway/backends/modelServers.ts'
import { GatewayConfigSchema } from '../../../gateway/config.ts'
import { readChoice, readHashes, readNames, readUnits, readUrls } from './answers.ts'
import { askAccount, askAttester, askDeployment } from './chainAnswers.ts'
import { askListens, planBoth } from './enclaveAnswers.ts'
import { AnswerError, type Interview } from './interview.ts'
import { type Plan, plannedConfig } from './plan.ts'

/** The model that ships with the gateway: it shows that everything works, and says nothing sensible. */
const DEMO_MODEL = 'sealpath-demo-1m'

type Served = { readonly backend: unknown; readonly models: readonly string[]; readonly source: ClaimSource }

/** A gateway that serves one model server, or the demo model. */
export async function planGateway(interview: Interview, folder: string): Promise<Plan> {
  const deployment = await askDeployment(interview)
  const { chainId, registry, settlement, vault, fromBlock } = deployment
  const account = await askAccount(interview, folder, 'operator')
  const rpcUrl = (await interview.ask({ key: 'rpc', text: 'JSON-RPC endpoint of the chain', parse: readUrls(1) }))[0]
  const listens = await askListens(interview, folder, 'relays', 8_443)
  const attester = await askAttester(interview, chainId, folder)
  const { backend, models, source } = await askBackend(interview)
  const prices = await askPrices(interview, models, source)
  const issuer = await askIssuer(interview, vault)
  const aggregators = await interview.ask({
    key: 'aggregators',
    text: 'Aggregators that settle its receipts, with commas',
    parse: readUrls(1),
  })
  const unitsMin = await interview.ask({
    key: 'payout-minimum',
    text: 'From how many OPG on the agent draws earnings by itself, or by-hand',
    initial: 'by-hand',
    parse(answer) {
      if (answer === 'by-hand') return undefined
      const units = parseOpg(answer)
      if (units === undefined) throw new AnswerError('expected an amount like 1 or 2.5 OPG, or by-hand')
      return units
    },
  })
  const more = unitsMin === undefined ? {} : { payouts: { unitsMin } }
  const { listen, agentListen } = listens
  const gateway = {
    listen,
    agentListen,
    chain: { chainId, registry, settlement, operator: account.address },
    attester,
    backends: [backend],
    prices,
    ...(issuer === undefined ? {} : { issuer }),
  }
  const file = plannedConfig(join(folder, 'gateway.json'), GatewayConfigSchema, gateway)
  return planBoth('gateway', file, folder, { account, listens, rpcUrl, registry, aggregators, fromBlock, more })
}

async function askBackend(interview: Interview): Promise<Served> {
  const url = await interview.ask({
    key: 'model-server',
    text: 'Base URL of an OpenAI-compatible model server, or demo for the model that ships with it',
    initial: 'demo',
    parse: (answer) => (answer === 'demo' ? undefined : readUrls(1)(answer)[0]),
  })
  if (url === undefined) return { backend: { kind: 'embedded' }, models: [DEMO_MODEL], source: 'measured' }
  const server = await interview.ask({
    key: 'server-kind',
    text: `Which server it is: ${MODEL_SERVERS.join(', ')}`,
    initial: MODEL_SERVERS[0],
    parse: readChoice(...MODEL_SERVERS),
  })
  const models = await interview.ask({ key: 'models', text: 'Models that it serves, with commas', parse: readNames })
  const source = await interview.ask<ClaimSource>({
    key: 'source',
    text: 'Who vouches for the model: measured in the same image, proxied from an https host, or the operator',
    initial: url.startsWith('https:') ? 'proxied' : 'operator',
    parse(answer) {
      const choice = readChoice('measured', 'proxied', 'operator')(answer)
      if (choice === 'proxied' && !url.startsWith('https:')) throw new AnswerError('only an https host can be proxied')
      return choice
    },
  })
  const measuredFiles = source === 'measured' ? await askMeasuredFiles(interview) : undefined
  const apiKeyFile = await interview.ask({
    key: 'api-key-file',
    text: 'File with its API key, or none',
    initial: 'none',
    parse: (answer) => (answer === 'none' ? undefined : answer),
  })
  const backend = {
    kind: 'openai',
    url,
    server,
    source,
    models: models.map((name) => ({ name })),
    ...(measuredFiles === undefined ? {} : { measuredFiles }),
    ...(apiKeyFile === undefined ? {} : { apiKeyFile }),
  }
  return { backend, models, source }
}

/** The model's files with their digests of now: the configuration is part of the image, and so are they. */
function askMeasuredFiles(interview: Interview): Promise<MeasuredFile[]> {
  return interview.ask({
    key: 'measured-files',
    text: "The model's files, with commas, under the paths that they have in the image too",
    parse: (answer) =>
      readNames(answer).map((path) => {
        try {
          return { path, sha256: sha256Of(path) }
        } catch (cause) {
          throw new AnswerError(`cannot read ${path}`, { cause })
        }
      }),
  })
}

async function askPrices(interview: Interview, models: readonly string[], source: ClaimSource): Promise<unknown> {
  const ask = (key: string, text: string, initial: string) => interview.ask({ key, text, initial, parse: readUnits })
  const requestUnits = await ask('price-request', 'Price of a request, in millionths of an OPG', '100')
  const promptUnitsPerMillion = await ask('price-prompt', 'Price of a million tokens in, likewise', '500000')
  const completionUnitsPerMillion = await ask('price-completion', 'Price of a million tokens out, likewise', '1500000')
  const price = { requestUnits, promptUnitsPerMillion, completionUnitsPerMillion }
  return { format: 'sealpath-prices/1', models: models.map((model) => ({ model, source, ...price })) }
}

async function askIssuer(interview: Interview, vault: string): Promise<unknown> {
  const urls = await interview.ask({
    key: 'issuers',
    text: 'Issuer of the credits that it takes, with those that may take its place; or free',
    initial: 'free',
    parse: (answer) => (answer === 'free' ? [] : readUrls(1)(answer)),
  })
  if (urls.length === 0) return undefined
  const measurements = await interview.ask({
    key: 'issuer-measurements',
    text: 'Measurements that issuers may have, with commas; none on a local chain',
    initial: 'none',
    parse: (answer) => (answer === 'none' ? [] : readHashes(answer)),
  })
  return { urls, vault, ...(measurements.length === 0 ? {} : { measurements }) }
}
