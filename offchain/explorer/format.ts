/** Values as people read them. @module */
import type { Hex } from '#protocol/bytes.ts'

const UNITS_PER_OPG = 1_000_000n

/** Units, a millionth OPG each, as an amount of OPG. */
export function opg(units: bigint): string {
  const fraction = (units % UNITS_PER_OPG).toString().padStart(6, '0').replace(/0+$/, '')
  return `${count(units / UNITS_PER_OPG)}${fraction === '' ? '' : `.${fraction}`} OPG`
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
