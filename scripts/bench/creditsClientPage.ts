/** creditsClientWork.ts in a page: says what it measured to the server that it came from. @module */
import { measureClient } from './creditsClientWork.ts'

async function measure(): Promise<unknown> {
  try {
    return await measureClient()
  } catch (error) {
    return { failed: String(error) }
  }
}

await fetch('/result', { method: 'POST', body: JSON.stringify(await measure()) })
