/** What others wrote, in printable ASCII and at most `charsMax` characters, so that it cannot steer a terminal. */
export function printable(text: string, charsMax: number = Number.POSITIVE_INFINITY): string {
  const shown = text.replace(/[^\x20-\x7e]/g, '?')
  return shown.length > charsMax ? `${shown.slice(0, charsMax)}...` : shown
}
