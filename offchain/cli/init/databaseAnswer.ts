/** Where a role keeps what it must not lose. @module */
import { join } from 'node:path'
import { findSecrets } from '#node/config/configFiles.ts'
import { readText } from './answers.ts'
import { AnswerError, type Interview } from './interview.ts'

export type DatabaseAnswer = { readonly url: string } | { readonly folder: string; readonly port: number }

/** A PostgreSQL elsewhere, or the one that comes along, which then keeps its data in `folder`. */
export function askDatabase(interview: Interview, folder: string, port: number): Promise<DatabaseAnswer> {
  return interview.ask<DatabaseAnswer>({
    key: 'database',
    text: 'PostgreSQL: the port of one that starts with it, or the URL of another without its password (PGPASSWORD may hold that)',
    initial: String(port),
    parse(answer) {
      const text = readText(answer)
      if (/^\d{1,5}$/.test(text)) {
        const own = Number(text)
        if (own < 1 || own > 65_535) throw new AnswerError('expected a port from 1 to 65535')
        return { folder: join(folder, 'database'), port: own }
      }
      if (/^postgres(ql)?:/.test(text) && URL.canParse(text)) {
        if (findSecrets({ database: { url: text } }).length === 0) return { url: text }
        throw new AnswerError('expected no password: set PGPASSWORD where it runs, or the whole URL as DATABASE_URL')
      }
      throw new AnswerError('expected a port, or a URL that begins with postgres:')
    },
  })
}
