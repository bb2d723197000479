/** Values as people read them. @module */
import type { Hex } from '#protocol/bytes.ts'
import { formatOpg } from '#protocol/credits/amounts.ts'

/** Units, a millionth OPG each, as an amount of OPG. */
export function opg(units: bigint): string {
  return formatOpg(units).replace(/^[0-9]+/, (whole) => count(BigInt(whole)))
}

export function count(value: bigint | number): string {
  return value.toLocaleString('en-US')
}

/** Seconds since the epoch, to the minute, in UTC. */
export function time(seconds: number | bigint): string {
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** The ends of a hash or address: enough to tell two apart at a glance, never to check one. */
export function short(hex: Hex): string {
  return hex.length <= 14 ? hex : `${hex.slice(0, 8)}…${hex.slice(-4)}`
}
