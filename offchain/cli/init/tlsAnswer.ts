/** TLS where others reach a role: offered everywhere, the usual answer wherever they come from other machines. @module */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isLoopback } from '#node/config/configFiles.ts'
import type { PublicListen } from '#node/config/listen.ts'
import { type ListenAnswer, readList } from './answers.ts'
import { AnswerError, type Interview } from './interview.ts'

export type TlsAnswer = { readonly listen: PublicListen; readonly notes: readonly string[] }

export type TlsQuestion = {
  readonly listen: ListenAnswer
  /** Something before it speaks TLS. */
  readonly isTerminated?: boolean
  /** Only relays come, who may pin a certificate that signed itself. */
  readonly isPinned?: boolean
}

export async function askTls(interview: Interview, folder: string, question: TlsQuestion): Promise<TlsAnswer> {
  const { listen, isTerminated = false, isPinned = false } = question
  const files = await interview.ask({
    key: 'tls',
    text: `Certificate and key of ${listen.host}:${listen.port} in PEM, with a comma between, or none for plain HTTP`,
    initial: isTerminated || isLoopback(listen.host) ? 'none' : `${join(folder, 'tls.crt')},${join(folder, 'tls.key')}`,
    parse(answer) {
      if (answer === 'none') return undefined
      const [certificate, key, ...more] = readList(answer)
      if (certificate === undefined || key === undefined || more.length > 0) {
        throw new AnswerError('expected two files, certificate and key, or none')
      }
      return { certificateFile: resolve(certificate), keyFile: resolve(key) }
    },
  })
  if (files === undefined) return { listen, notes: [] }
  const { certificateFile, keyFile } = files
  if (existsSync(certificateFile) && existsSync(keyFile)) return { listen: { ...listen, tls: files }, notes: [] }
  const notes = [
    `Before the start put the certificate with its chain into ${certificateFile} and its key into ${keyFile}.`,
    ...(isPinned ? [`Relays that know it as their caFile take one that signed itself: ${selfSigned(files)}`] : []),
  ]
  return { listen: { ...listen, tls: files }, notes }
}

function selfSigned({ certificateFile, keyFile }: { certificateFile: string; keyFile: string }): string {
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
  const name = '-subj /CN=NAME -addext subjectAltName=DNS:NAME'
  return `openssl req -x509 ${key} -days 365 ${name} -keyout ${keyFile} -out ${certificateFile}`
}
