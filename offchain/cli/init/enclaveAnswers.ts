/** What a gateway and an issuer have in common: where they are reached, and the operator agent beside them. @module */
import { join } from 'node:path'
import type { PublicListen } from '#node/config/listen.ts'
import type { Hex } from '#protocol/bytes.ts'
import { OperatorConfigSchema } from '../../operator/config.ts'
import { type ListenAnswer, readListen, urlOfListen } from './answers.ts'
import type { AccountAnswer } from './chainAnswers.ts'
import type { Interview } from './interview.ts'
import { type Plan, type PlannedFile, plannedConfig } from './plan.ts'
import { askTls } from './tlsAnswer.ts'

export type ListenAnswers = {
  readonly listen: PublicListen
  readonly agentListen: ListenAnswer
  readonly operatorListen: ListenAnswer
  readonly pageListen: ListenAnswer
  /** What is left to do for TLS. */
  readonly notes: readonly string[]
}

/** Four ports, the first one `firstPort` and the others behind it unless told; only the first is for others. `by` says who reaches it there. */
export async function askListens(
  interview: Interview,
  folder: string,
  by: string,
  firstPort: number,
): Promise<ListenAnswers> {
  const ask = (key: string, text: string, initial: string) => interview.ask({ key, text, initial, parse: readListen })
  const listen = await ask('listen', `Where ${by} reach it`, `0.0.0.0:${firstPort}`)
  const beside = (offset: number) => `127.0.0.1:${listen.port + offset}`
  return {
    ...(await askTls(interview, folder, { listen, isPinned: true })),
    agentListen: await ask('agent-listen', 'Where its own operator agent reaches it, open to nobody else', beside(1)),
    operatorListen: await ask('operator-listen', 'Where the operator agent is reached', beside(2)),
    pageListen: await ask('page-listen', 'Where you look at its page, open to nobody else', beside(3)),
  }
}

export type OperatorAnswers = {
  readonly account: AccountAnswer
  readonly listens: ListenAnswers
  readonly rpcUrl: string | undefined
  readonly registry: Hex
  readonly aggregators: readonly string[]
  /** Block to read the registry's events from. */
  readonly fromBlock: bigint
  /** What only an issuer's agent has. */
  readonly more?: Readonly<Record<string, unknown>>
}

/** The role's configuration beside that of its operator agent, and how both are started. */
export function planBoth(role: string, config: PlannedFile, folder: string, answers: OperatorAnswers): Plan {
  const { account, listens, rpcUrl, registry, aggregators, fromBlock, more } = answers
  const operatorFile = join(folder, 'operator.json')
  const operator = {
    listen: listens.operatorListen,
    gatewayAgentUrl: urlOfListen(listens.agentListen),
    rpcUrl,
    registry,
    accountKeyFile: account.file,
    aggregators,
    dataFolder: join(folder, 'outbox'),
    fromBlock,
    page: listens.pageListen,
    ...more,
  }
  return {
    files: [...account.files, config, plannedConfig(operatorFile, OperatorConfigSchema, operator)],
    notes: [
      ...account.notes,
      ...listens.notes,
      `Its bond is locked at registration: deposit it first, from any account, for ${account.address}.`,
      `Start it: sealpath ${role} --config ${config.path}`,
      `and beside it: sealpath operator --config ${operatorFile}`,
    ],
  }
}
