/** From the bytes of tokens to text that may be sent: whole characters only, and nothing of a stop string. @module */

/** The text of one answer. */
export class TextStream {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  readonly #stop: readonly string[]
  #held = ''
  #isStopped = false

  constructor(stop: readonly string[]) {
    this.#stop = stop
  }

  /** Whether a stop string was met; the text before it is all there is. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** The text that is certain after these bytes, perhaps ''. What could be the start of a stop string is held back. */
  push(bytes: Uint8Array): string {
    return this.#release(this.#decoder.decode(bytes, { stream: true }), false)
  }

  /** What was held back, at the end of the answer; a character cut in two becomes U+FFFD. */
  end(): string {
    return this.#release(this.#decoder.decode(), true)
  }

  #release(added: string, isEnd: boolean): string {
    if (this.#isStopped) return ''
    const text = this.#held + added
    const found = this.#stop.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.#isStopped = true
      this.#held = ''
      return text.slice(0, Math.min(...found))
    }
    const heldLength = isEnd ? 0 : Math.max(0, ...this.#stop.map((stop) => overlap(text, stop)))
    this.#held = text.slice(text.length - heldLength)
    return text.slice(0, text.length - heldLength)
  }
}

/** The length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (stop.startsWith(text.slice(text.length - length))) return length
  }
  return 0
}
