/** A receipt on its way from one page of the explorer to the one that checks it. It never stands in an address. @module */

let handed: string | undefined

/** The page that checks receipts checks this one when it is opened next. */
export function handReceipt(text: string): void {
  handed = text
}

/** What was handed over since the last call. */
export function takeHandedReceipt(): string | undefined {
  const text = handed
  handed = undefined
  return text
}
