/**
 * Arrays as parameters of statements, in PostgreSQL's text form (manual, "Array Input and Output Syntax"). Given here, because otherwise the
 * client asks the server for its array types on each new connection, and nobody hears when that connection is lost meanwhile: the
 * process ends of it (postgres 3.4.9).
 * @module
 */
import type postgres from 'postgres'

/** Numbers of the types in PostgreSQL. */
const ARRAY_OF = { bytea: 1001, int4: 1007, text: 1009, int8: 1016 }

type Element = Uint8Array | string | number | bigint | null

/** Elements of `integer[]`, `bigint[]` and `text[]` are plain arrays of a statement; those of `bytea[]` need `byteaArray`. */
export const ARRAY_TYPES: Record<keyof typeof ARRAY_OF, postgres.PostgresType<readonly Element[]>> = {
  bytea: arrayType(ARRAY_OF.bytea),
  int4: arrayType(ARRAY_OF.int4),
  text: arrayType(ARRAY_OF.text),
  int8: arrayType(ARRAY_OF.int8),
}

/** No statement answers an array, so none is read. */
function arrayType(to: number): postgres.PostgresType<readonly Element[]> {
  return { to, from: [], serialize: encodeArray, parse: () => [] }
}

/** What `read` answers of each row, for `${…}::bytea[]`. */
export function byteaArray<Row>(
  { typed }: Pick<postgres.Sql<{ bigint: bigint }>, 'typed'>,
  rows: readonly Row[],
  read: (row: Row) => Uint8Array,
): postgres.Parameter<readonly Uint8Array[]> {
  return typed(rows.map(read), ARRAY_OF.bytea)
}

function encodeArray(elements: readonly Element[]): string {
  return `{${elements.map(encodeElement).join(',')}}`
}

function encodeElement(element: Element): string {
  if (element === null) return 'NULL'
  if (element instanceof Uint8Array)
    return `"\\\\x${Buffer.from(element.buffer, element.byteOffset, element.length).toString('hex')}"`
  return `"${String(element).replace(/["\\]/g, '\\$&')}"`
}
