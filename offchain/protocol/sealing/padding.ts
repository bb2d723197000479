/** Size classes of sealed requests: what a relay may learn of a prompt's length. @module */

const CLASS_BYTES_MIN = 1024
const DOUBLING_BYTES_MAX = 65_536

/**
 * The class size for an inner request of `lengthBytes`: the next power of two from 1 KiB to 64 KiB, then the next
 * multiple of 64 KiB. As padding for `encodeRequest` it makes every encoded request one of these sizes.
 *
 * Doubling leaves seven classes for the sizes that most prompts have, at the price of at most twice the bytes. Above
 * 64 KiB the price would outgrow the gain: the few requests that large hide poorly among each other at any class size,
 * so a fixed step bounds the waste at 64 KiB.
 */
export function requestSizeClass(lengthBytes: number): number {
  if (lengthBytes > DOUBLING_BYTES_MAX) return Math.ceil(lengthBytes / DOUBLING_BYTES_MAX) * DOUBLING_BYTES_MAX
  let classBytes = CLASS_BYTES_MIN
  while (classBytes < lengthBytes) classBytes *= 2
  return classBytes
}
