// Why the pooler cannot start, in words for the one who starts it.

export class StartFailure extends Error {
  override readonly name = 'StartFailure'
}
