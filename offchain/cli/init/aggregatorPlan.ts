/** Questions for an aggregator. @module */
import { join } from 'node:path'
import { AggregatorConfigSchema } from '../../aggregator/config.ts'
import { readCount, readListen, readUrls } from './answers.ts'
import { askAccount, askDeployment } from './chainAnswers.ts'
import { askDatabase } from './databaseAnswer.ts'
import type { Interview } from './interview.ts'
import { type Plan, plannedConfig } from './plan.ts'
import { askTls } from './tlsAnswer.ts'

export async function planAggregator(interview: Interview, folder: string): Promise<Plan> {
  const { chainId, registry, settlement, fromBlock } = await askDeployment(interview)
  const account = await askAccount(interview, folder, 'settler')
  const rpcUrls = await interview.ask({
    key: 'rpc',
    text: 'JSON-RPC endpoints of the chain, with commas; two guard against one that lies',
    parse: readUrls(1),
  })
  const address = await interview.ask({
    key: 'listen',
    text: 'Where operator agents and apps reach it',
    initial: '0.0.0.0:8090',
    parse: readListen,
  })
  const { listen, notes } = await askTls(interview, folder, { listen: address })
  const database = await askDatabase(interview, folder, 5_433)
  const everySeconds = await interview.ask({
    key: 'settle-every',
    text: 'How long a receipt waits for others to share its settlement, in seconds',
    initial: '60',
    parse: readCount,
  })
  const config = {
    listen,
    rpcUrls,
    deployment: { chainId, registry, settlement, fromBlock },
    accountKeyFiles: [account.file],
    database,
    settle: { everySeconds },
  }
  const file = join(folder, 'aggregator.json')
  return {
    files: [...account.files, plannedConfig(file, AggregatorConfigSchema, config)],
    notes: [...account.notes, ...notes, `Start it: sealpath aggregator --config ${file}`],
  }
}
