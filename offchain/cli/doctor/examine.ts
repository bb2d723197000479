/** Everything that `sealpath doctor` looks at, for one configuration. @module */

import * as v from 'valibot'
import { findSecrets } from '#node/config/configFiles.ts'
import { findMistakes } from '#node/config/mistakes.ts'
import { MetricsConfigSchema } from '#node/metrics.ts'
import { readConfigFile } from '#node/role.ts'
import { checkChain } from './chain.ts'
import { checkDatabase } from './database.ts'
import { readEnclave } from './enclave.ts'
import { type Finding, failed, firstLine, ok } from './finding.ts'
import { checkCertificates, checkFiles, checkFolder, checkNode, checkPort } from './machine.ts'
import { checkClock, checkPeers } from './peers.ts'
import { ROLE_NAMES, type RoleName, readSubject, recogniseRole, SCHEMAS, type Subject } from './subject.ts'

export type ExamineOptions = {
  /** Needed only where the file does not tell. */
  readonly role?: RoleName | undefined
  /** Endpoints of the chain for roles that have none of their own. */
  readonly rpcUrls?: readonly string[]
  /** DATABASE_URL. */
  readonly databaseUrl?: string | undefined
}

/** Findings in an order in which the causes come before what follows from them. */
export async function examine(path: string, options: ExamineOptions = {}): Promise<readonly Finding[]> {
  let value: unknown
  try {
    value = readConfigFile(path)
  } catch (error) {
    return [checkNode(), failed('configuration', firstLine(error), 'sealpath init writes one')]
  }
  const role = options.role ?? recogniseRole(value)
  if (role === undefined) {
    return [checkNode(), failed('configuration', 'no role has one like it', `name it: --role ${ROLE_NAMES.join('|')}`)]
  }
  const mistakes = [...findMistakes(v.intersect([SCHEMAS[role], MetricsConfigSchema]), value), ...findSecrets(value)]
  if (mistakes.length > 0) {
    const findings = mistakes.map(({ place, sentence }) =>
      failed('configuration', `${place}: ${sentence}`, 'docs/configuration.md has every setting'),
    )
    return [checkNode(), ...findings]
  }
  const subject = readSubject(role, value, path)
  return [
    checkNode(),
    ok('configuration', `of a role ${role}`),
    ...checkFiles(value),
    ...(await examineWorld(subject, options)),
  ]
}

async function examineWorld(subject: Subject, options: ExamineOptions): Promise<readonly Finding[]> {
  const rpcUrls = subject.rpcUrls.length > 0 ? subject.rpcUrls : (options.rpcUrls ?? [])
  const { database } = subject
  const [ports, peers, enclave, databases] = await Promise.all([
    Promise.all(subject.ports.map(checkPort)),
    checkPeers(subject.peers),
    readEnclave(subject),
    database === undefined ? [] : checkDatabase(database, options.databaseUrl),
  ])
  const chain = await checkChain({ ...subject, rpcUrls }, enclave.word)
  return [
    ...checkCertificates(subject, Date.now() / 1000),
    ...subject.folders.map(checkFolder),
    ...ports,
    ...databases,
    checkClock([...peers.clocks, ...chain.clocks]),
    ...peers.findings,
    ...chain.findings,
    ...enclave.findings,
  ]
}
