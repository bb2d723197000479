/** The settlement contract's history as a page's state. @module */
import { useEffect, useState } from 'preact/hooks'
import type { Hex } from '#protocol/bytes.ts'
import { type History, type Point, readPoints } from '../history.ts'
import { type Freshness, followHistory } from '../live.ts'
import type { Sources } from './parts.tsx'

/** Followed while the page is shown; both undefined until the chain answered for the first time. */
export function useHistory(sources: Sources): { history: History | undefined; freshness: Freshness | undefined } {
  const [history, setHistory] = useState<History>()
  const [freshness, setFreshness] = useState<Freshness>()
  useEffect(() => followHistory(sources, setHistory, setFreshness), [sources])
  return { history, freshness }
}

/** Receipts settled over time, of one enclave where one is given; undefined until the times are read. */
export function usePoints({ reader }: Sources, history: History | undefined, enclave?: Hex): Point[] | undefined {
  const [points, setPoints] = useState<Point[]>()
  useEffect(() => {
    let isCurrent = true
    const read = async (): Promise<void> => {
      if (history === undefined) return
      try {
        const read = await readPoints(reader, history, enclave)
        if (isCurrent) setPoints(read)
      } catch {
        // Without the times of blocks there is no chart; everything else of the page needs none.
      }
    }
    void read()
    return () => {
      isCurrent = false
    }
  }, [reader, history, enclave])
  return points
}
