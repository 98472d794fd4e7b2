// What goes wrong in the demo and can be told to its user in a few lines, without a stack.

/** Its message is complete: what happened, where, and what to do about it where that is known. */
export class DemoError extends Error {
  override readonly name = 'DemoError'
}
