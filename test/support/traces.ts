/** What an onlooker has of an encrypted answer, and a small classifier that guesses from it what the answer is about: naive Bayes. @module */

/** Pieces of one answer in their order: bytes on the wire, and ticks since the piece before or the request. */
export type Trace = readonly { readonly bytes: number; readonly gapTicks: number }[]
export type Example<Label> = { readonly label: Label; readonly trace: Trace }

/** Of pieces with the milliseconds at which they came, and a request that was put at `beganMs`. */
export function traceOf(
  pieces: readonly { readonly bytes: number; readonly atMs: number }[],
  beganMs: number,
  tickMs = 50,
): Trace {
  return pieces.map(({ bytes, atMs }, i) => {
    return { bytes, gapTicks: Math.round((atMs - (pieces[i - 1]?.atMs ?? beganMs)) / tickMs) }
  })
}

/** The label that the examples make likeliest for a trace. Between equals the one that was seen first. */
export function trainClassifier<Label>(examples: readonly Example<Label>[]): (trace: Trace) => Label {
  const classes = new Map<Label, { count: number; features: Map<string, number>; total: number }>()
  const vocabulary = new Set<string>()
  for (const { label, trace } of examples) {
    const known = classes.get(label) ?? { count: 0, features: new Map<string, number>(), total: 0 }
    classes.set(label, known)
    known.count++
    for (const feature of featuresOf(trace)) {
      vocabulary.add(feature)
      known.features.set(feature, (known.features.get(feature) ?? 0) + 1)
      known.total++
    }
  }
  return (trace) => {
    const features = featuresOf(trace)
    let best: { label: Label; score: number } | undefined
    for (const [label, { count, features: seen, total }] of classes) {
      let score = Math.log(count / examples.length)
      for (const feature of features) score += Math.log(((seen.get(feature) ?? 0) + 1) / (total + vocabulary.size + 1))
      if (best === undefined || score > best.score) best = { label, score }
    }
    if (best === undefined) throw new Error('expected examples')
    return best.label
  }
}

/** The share of `examples` that `classify` guesses right, from 0 to 1. */
export function accuracyOf<Label>(classify: (trace: Trace) => Label, examples: readonly Example<Label>[]): number {
  return examples.filter(({ label, trace }) => classify(trace) === label).length / examples.length
}

/** Each piece with its size and its gap, alone and with the next one; where the first came, how many there are, and how much of all. */
function featuresOf(trace: Trace): string[] {
  const pieces = trace.map(({ bytes, gapTicks }) => `${bytes}/${gapTicks}`)
  const pairs = trace.slice(1).map(({ gapTicks }, i) => `${trace[i]?.gapTicks}>${gapTicks}`)
  const bytes = trace.reduce((sum, piece) => sum + piece.bytes, 0)
  return [
    ...pieces,
    ...pairs,
    `first ${trace[0]?.gapTicks}`,
    `second ${trace[1]?.gapTicks}`,
    `count ${Math.round(8 * Math.log2(trace.length))}`,
    `bytes ${Math.round(8 * Math.log2(bytes))}`,
  ]
}
