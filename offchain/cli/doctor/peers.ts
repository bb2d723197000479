/** Whom a role talks to: whether they answer, how long their certificates last, and whether their clocks say what ours says. @module */
import { type Answer, ask } from './ask.ts'
import { duration, type Finding, failed, firstLine, ok, warn } from './finding.ts'
import { CERTIFICATE_SECONDS_MIN, readPem } from './machine.ts'
import type { Peer } from './subject.ts'

/** Requests carry dates, and credits end at times: more than this is refused here and there. */
const CLOCK_SECONDS_MAX = 30

export type PeerReport = {
  readonly findings: readonly Finding[]
  /** How far each that told its time is ahead of us, in seconds. */
  readonly clocks: readonly Clock[]
}

/** Somebody else's time. */
export type Clock = { readonly who: string; readonly aheadSeconds: number }

export async function checkPeers(peers: readonly Peer[]): Promise<PeerReport> {
  const reports = await Promise.all(peers.map(checkPeer))
  return {
    findings: reports.map(({ finding }) => finding),
    clocks: reports.flatMap(({ clock }) => (clock === undefined ? [] : [clock])),
  }
}

async function checkPeer(peer: Peer): Promise<{ finding: Finding; clock?: Clock }> {
  const { host } = new URL(peer.url)
  const what = `${peer.what} ${host}`
  const ca = readPem(peer.caFile)
  let answer: Answer
  try {
    answer = await ask(peer.path === '' ? peer.url : new URL(peer.path, peer.url), ca === undefined ? {} : { ca })
  } catch (error) {
    return { finding: failed(what, firstLine(error), 'check its address, that it runs, and the way to it') }
  }
  const { aheadSeconds, certificateEnd } = answer
  return {
    finding: findingOf(what, peer, answer.status, certificateEnd),
    ...(aheadSeconds === undefined ? {} : { clock: { who: host, aheadSeconds } }),
  }
}

function findingOf(what: string, peer: Peer, status: number, certificateEnd: number | undefined): Finding {
  if (status !== 200 && peer.takesAny !== true) {
    return failed(what, `${peer.path} answers ${status}`, 'check that the address is that of such a role')
  }
  if (certificateEnd === undefined) return ok(what, 'answers')
  const left = certificateEnd - Date.now() / 1000
  const found = `answers; its certificate ends in ${duration(left)}`
  return left < CERTIFICATE_SECONDS_MIN ? warn(what, found, 'tell those who run it') : ok(what, found)
}

/** Our clock against those of others. */
export function checkClock(clocks: readonly Clock[]): Finding {
  const what = 'clock'
  if (clocks.length === 0) return ok(what, 'nobody to compare it with')
  const off = clocks.filter(({ aheadSeconds }) => Math.abs(aheadSeconds) > CLOCK_SECONDS_MAX)
  if (off.length === 0) return ok(what, `within ${CLOCK_SECONDS_MAX} s of ${clocks.map(({ who }) => who).join(', ')}`)
  const words = off.map(
    ({ who, aheadSeconds }) => `${duration(aheadSeconds)} ${aheadSeconds > 0 ? 'behind' : 'ahead of'} ${who}`,
  )
  return failed(what, words.join(', '), 'set the clocks by NTP')
}
