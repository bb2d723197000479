/** A line that only grows, over time. The library comes when the first chart is shown. @module */
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { count, time } from '../format.ts'
import type { Point } from '../history.ts'

const HEIGHT = 200
/** In pixels, half of "2026-11-22" in the font below. */
const LABEL_HALF = 34
const FONT = '12px system-ui, sans-serif'

export function Chart({ title, points }: { readonly title: string; readonly points: readonly Point[] }): JSX.Element {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = place.current
    if (element === null) return
    let isCurrent = true
    let drawn: { destroy(): void } | undefined
    const scheme = matchMedia('(prefers-color-scheme: dark)')
    const redraw = async (): Promise<void> => {
      const next = await draw(element, title, points)
      drawn?.destroy()
      drawn = next
      if (!isCurrent) next.destroy()
    }
    let width = element.clientWidth
    const onChange = (): void => void redraw()
    // A phone resizes the window whenever its address bar comes or goes.
    const onResize = (): void => {
      if (element.clientWidth === width) return
      width = element.clientWidth
      void redraw()
    }
    void redraw()
    scheme.addEventListener('change', onChange)
    addEventListener('resize', onResize)
    return () => {
      isCurrent = false
      scheme.removeEventListener('change', onChange)
      removeEventListener('resize', onResize)
      drawn?.destroy()
    }
  }, [title, points])
  const [first] = points
  const last = points.at(-1)
  const label =
    first === undefined || last === undefined
      ? title
      : `${title}: from ${count(first.value)} at ${time(first.time)} to ${count(last.value)} at ${time(last.time)}`
  return <div class="chart" ref={place} role="img" aria-label={label} />
}

/** A canvas takes no colours from style sheets, so they are read from elements that do. */
async function draw(element: HTMLElement, title: string, points: readonly Point[]): Promise<{ destroy(): void }> {
  const { default: UPlot } = await import('uplot')
  const ink = getComputedStyle(element).color
  const line = getComputedStyle(element).borderTopColor
  const accent = getComputedStyle(element).outlineColor
  const { stepped } = UPlot.paths
  const axis = { stroke: ink, font: FONT, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } }
  return new UPlot(
    {
      width: element.clientWidth,
      height: HEIGHT,
      // Room for half a label where the last one ends at the edge.
      padding: [null, LABEL_HALF, null, null],
      // As all times here.
      tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true }, y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.1)] } },
      axes: [
        { ...axis, space: 90, values: (_plot, splits, _axis, _space, step) => timesOf(splits, step) },
        {
          ...axis,
          size: 56,
          values: (_plot, values) => values.map((value) => (Number.isInteger(value) ? count(value) : '')),
        },
      ],
      series: [
        {},
        {
          label: title,
          stroke: accent,
          width: 2,
          points: { show: true, size: 5, fill: accent },
          // Between two settlements nothing settles: the line is a stair.
          ...(stepped === undefined ? {} : { paths: stepped({ align: 1 }) }),
        },
      ],
    },
    [points.map((point) => point.time), points.map((point) => point.value)],
    element,
  )
}

const DAY_SECONDS = 86_400
const MINUTE_SECONDS = 60

/** As fine as the steps between them, the day only where it begins. */
function timesOf(seconds: readonly number[], step: number): string[] {
  let shown = ''
  return seconds.map((each) => {
    const [day = '', clock = ''] = new Date(each * 1000).toISOString().split('T')
    if (step >= DAY_SECONDS) return day
    const text = clock.slice(0, step >= MINUTE_SECONDS ? 5 : 8)
    if (day === shown) return text
    shown = day
    return `${text}\n${day}`
  })
}
