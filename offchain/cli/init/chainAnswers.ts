/** What every role asks about its chain and its account. @module */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import type { AttesterConfig } from '#node/enclave/config.ts'
import type { Hex } from '#protocol/bytes.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { readChoice, readText } from './answers.ts'
import { AnswerError, type Interview } from './interview.ts'
import type { PlannedFile } from './plan.ts'

export type AccountAnswer = {
  readonly file: string
  readonly address: Hex
  /** The key file, where there is none yet. */
  readonly files: readonly PlannedFile[]
  readonly notes: readonly string[]
}

/** The file that `sealpath deploy` wrote. */
export function askDeployment(interview: Interview): Promise<Deployment> {
  return interview.ask({
    key: 'deployment',
    text: 'Deployment file of the network',
    initial: 'deployment.json',
    parse(path) {
      try {
        return readDeployment(path)
      } catch (cause) {
        throw new AnswerError(`cannot read ${path}: ${cause instanceof Error ? cause.message : 'unknown failure'}`, {
          cause,
        })
      }
    },
  })
}

/** An account that pays gas: its key is read from a file, or made for it. */
export async function askAccount(interview: Interview, folder: string, name: string): Promise<AccountAnswer> {
  return interview.ask({
    key: `${name}-key-file`,
    text: `File with the private key of the ${name} account, made if there is none`,
    initial: join(folder, `${name}.key`),
    parse(answer) {
      const file = resolve(readText(answer))
      if (existsSync(file)) return { file, address: addressOf(file), files: [], notes: [] }
      const key = generatePrivateKey()
      const { address } = privateKeyToAccount(key)
      const notes = [
        `${address} is the new ${name} account: send it coins for gas. Its key is in ${file} alone: keep a copy.`,
      ]
      return { file, address, files: [{ path: file, text: `${key}\n`, isSecret: true }], notes }
    },
  })
}

/** Where the enclave's evidence comes from; development evidence on local chains only. */
export async function askAttester(interview: Interview, chainId: number, folder: string): Promise<AttesterConfig> {
  const isLocal = isLocalChain(chainId)
  const kind = await interview.ask({
    key: 'attester',
    text: 'What attests it: nitro, or development on a local chain',
    initial: isLocal ? 'development' : 'nitro',
    parse(answer) {
      const choice = readChoice('nitro', 'development')(answer)
      if (choice === 'nitro' || isLocal) return choice
      throw new AnswerError(`chain ${chainId} is not local: development evidence proves nothing there`)
    },
  })
  if (kind === 'nitro') return { kind }
  const rootFile = await interview.ask({
    key: 'development-root',
    text: 'File of the development root, made by the first role that needs it',
    initial: join(folder, 'development-root.json'),
    parse: (answer) => resolve(readText(answer)),
  })
  return { kind, rootFile }
}

function addressOf(file: string): Hex {
  const key = readFileSync(file, 'utf8').trim()
  if (!/^(0x)?[0-9a-fA-F]{64}$/.test(key)) throw new AnswerError(`${file} holds no private key: expected 64 hex digits`)
  return privateKeyToAccount(key.startsWith('0x') ? (key as Hex) : `0x${key}`).address
}
