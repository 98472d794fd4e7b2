// Changes that no test can notice, since nothing that anybody sees depends on them.

export interface Known {
  readonly before: string
  readonly after: string
  readonly reason: string
}

export const withoutEffect: readonly Known[] = [
  {
    before: 'if ((chunk[start + 2]! | 0x20) !== 0x6c || (chunk[start]! | 0x20) !== 0x73) return false',
    after: 'if ((chunk[start + 2]! | 0x20) !== 0x6c && (chunk[start]! | 0x20) !== 0x73) return false',
    reason: 'more texts are looked at closely, and found to be what they are',
  },
  {
    before: 'for (let i = 0; i < count; i++) {',
    after: 'for (let i = 0; i <= count; i++) {',
    reason: 'the entry that is emptied beside is the one that the head is put in next',
  },
  ...['return isOwn && length <= readLimit ? end : 0', 'return length <= readLimit ? end : 0'].map((before) => ({
    before,
    after: before.replace('<=', '<'),
    reason: 'any limit will do',
  })),
  {
    before:
      'if (chunk.length < start + 3 || !mayBeCommand(chunk[start]!, chunk[start + 1]!, chunk[start + 2]!)) return 0',
    after:
      'if (chunk.length < start + 3 && !mayBeCommand(chunk[start]!, chunk[start + 1]!, chunk[start + 2]!)) return 0',
    reason: 'a Parse is waited for whole that need not be',
  },
  {
    before: 'this.pool.demand()',
    after: 'void 0',
    reason: 'the janitor does so a little later',
  },
  {
    before: 'if (restored === null) server.settings = settings',
    after: 'if (restored === null) void 0',
    reason: 'they are the same settings; to have the same object saves comparing them again',
  },
]
