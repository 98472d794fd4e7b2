// Changes that no test can notice, since nothing that anybody sees depends on them.

export interface Known {
  readonly before: string
  readonly after: string
  readonly reason: string
}

export const withoutEffect: readonly Known[] = []
