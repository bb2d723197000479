/** Why a deployment cannot begin or go on, in a sentence for the person at the terminal. @module */
export class DeployError extends Error {
  override readonly name = 'DeployError'
}
