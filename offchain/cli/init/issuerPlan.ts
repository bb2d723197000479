/** Questions for an issuer and its operator agent. @module */
import { join } from 'node:path'
import { IssuerConfigSchema } from '../../issuer/config.ts'
import { readCount, readHashes, readUrls } from './answers.ts'
import { askAccount, askAttester, askDeployment } from './chainAnswers.ts'
import { askDatabase } from './databaseAnswer.ts'
import { askListens, planBoth } from './enclaveAnswers.ts'
import { AnswerError, type Interview } from './interview.ts'
import { type Plan, plannedConfig } from './plan.ts'

export async function planIssuer(interview: Interview, folder: string): Promise<Plan> {
  const { chainId, registry, settlement, vault, fromBlock } = await askDeployment(interview)
  const account = await askAccount(interview, folder, 'issuer')
  const rpcUrls = await interview.ask({
    key: 'rpc',
    text: 'JSON-RPC endpoints of the chain, of different providers, with commas',
    parse: readUrls(2),
  })
  const listens = await askListens(interview, folder, 'relays and gateways', 8_460)
  const attester = await askAttester(interview, chainId, folder)
  const keys = await askKeys(interview)
  const database = await askDatabase(interview, folder, 5_434)
  const urls = await interview.ask({
    key: 'witnesses',
    text: 'Aggregators that witness its log, with commas',
    parse: readUrls(1),
  })
  const quorum = await interview.ask({
    key: 'quorum',
    text: 'How many of them must have a change before it is answered',
    initial: String(Math.floor(urls.length / 2) + 1),
    parse(answer) {
      const count = readCount(answer)
      if (count > urls.length) throw new AnswerError(`there are ${urls.length} witnesses`)
      return count
    },
  })
  const { listen, agentListen } = listens
  const issuer = {
    listen,
    agentListen,
    chain: { chainId, registry, settlement, operator: account.address, vault, fromBlock },
    rpcUrls,
    attester,
    keys,
    database,
    witnesses: { urls, quorum },
  }
  const file = plannedConfig(join(folder, 'issuer.json'), IssuerConfigSchema, issuer)
  const more = { deposits: { vault, accountKeyFile: account.file } }
  const [rpcUrl] = rpcUrls
  return planBoth('issuer', file, folder, { account, listens, rpcUrl, registry, aggregators: urls, fromBlock, more })
}

/** A new keyset, or the keysets of an issuer whose place this one may take. */
async function askKeys(interview: Interview): Promise<unknown> {
  const from = await interview.ask({
    key: 'keys',
    text: 'new for keys of its own, or the URLs of issuers whose place it may take',
    initial: 'new',
    parse: (answer) => (answer === 'new' ? undefined : readUrls(1)(answer)),
  })
  if (from !== undefined) {
    const predecessors = await interview.ask({
      key: 'predecessors',
      text: 'Measurements that they may have besides its own, with commas, or none',
      initial: 'none',
      parse: (answer) => (answer === 'none' ? [] : readHashes(answer)),
    })
    return { from, ...(predecessors.length === 0 ? {} : { predecessors }) }
  }
  const days = (key: string, text: string, initial: string) => interview.ask({ key, text, initial, parse: readCount })
  const signDays = await days('sign-days', 'Days in which deposits become credits', '90')
  const spendDays = await days('spend-days', 'Days in which credits are spent', '180')
  const exitDays = await days('exit-days', 'Days in which the vault pays credits out', '545')
  return { generate: { signDays, spendDays, exitDays } }
}
