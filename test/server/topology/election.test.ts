import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Election, elect, type Known, nothingKnown, type Voice } from '../../../src/server/topology/election.js'

/**
 * `a primary 2`, `b standby 1`, `c silent` (down, or without a word on its role), `d unasked`; then `banned`; `of X`: of another
 * system identifier; `since x`: when its server was started. `?` for a timeline that it does not tell.
 */
function voice(text: string): Voice {
  const [, name = '', role, timeline = '?', ban, of = 'S', startedAt] =
    /^(\w+) (primary|standby|silent|unasked)(?: ([\d?]+))?( banned)?(?: of (\w+))?(?: since (\w+))?$/.exec(text) ?? []
  const isAnswer = role === 'primary' || role === 'standby'
  return {
    name,
    hasSpoken: role !== 'unasked',
    isInRecovery: isAnswer ? role === 'standby' : undefined,
    timeline: timeline === '?' ? undefined : Number(timeline),
    systemId: isAnswer && of !== 'nobody' ? of : undefined,
    startedAt,
    isBanned: ban !== undefined,
  }
}

const voices = (text: string): Voice[] => text.split(', ').map(voice)

/** `a at 2, not b c`: a was the primary last, of timeline 2; b and c are fenced. */
function known(text: string): Known {
  const [, primary, timeline, , fenced = ''] = /^(\w+) at (\d+)(, not (.*))?$/.exec(text) ?? []
  return { systemId: 'S', timeline: Number(timeline), primary, fenced: new Set(fenced.split(' ').filter(Boolean)) }
}

/** `a at 2, not b; foreign c; disputed d`: who is elected, what is known afterwards. */
function outcome({ primary, foreign, disputed, known: next }: Election): string {
  const list = (word: string, names: ReadonlySet<string>) =>
    names.size === 0 ? '' : `${word} ${[...names].sort().join(' ')}`
  return [
    `${primary ?? 'nobody'} at ${next.timeline}${list(', not', next.fenced)}`,
    list('foreign', foreign),
    list('disputed', disputed),
  ]
    .filter(Boolean)
    .join('; ')
}

/** What it is; what is known; what the hosts say; what follows. */
const cases: readonly (readonly [title: string, before: string, hosts: string, after: string])[] = [
  // at the start
  ['not all have spoken', '', 'a primary 1, b unasked', 'nobody at 0'],
  ['all have, one of them by its silence', '', 'a primary 1, b silent', 'a at 1'],
  ['the order of the hosts does not matter', '', 'b standby 1, a primary 1', 'a at 1'],
  ['standbys only', '', 'a standby 1, b standby 1', 'nobody at 0'],
  ['nobody answers', '', 'a silent, b silent', 'nobody at 0'],
  ['two primaries: the higher timeline', '', 'a primary 1, b primary 2', 'b at 2, not a'],
  ['two primaries of one timeline', '', 'a primary 1, b primary 1', 'nobody at 0; disputed a b'],
  ['of those, one is banned', '', 'a primary 1 banned, b primary 1', 'b at 1, not a'],
  ['timelines that nobody tells', '', 'a primary ?, b standby ?', 'a at 0'],
  ['two primaries without a timeline', '', 'a primary ?, b primary ?', 'nobody at 0; disputed a b'],
  ['a timeline above 9 is higher', '', 'a primary 9, b primary 10', 'b at 10, not a'],
  // settled
  ['nothing changes', 'a at 1', 'a primary 1, b standby 1', 'a at 1'],
  ['a standby is lost', 'a at 1', 'a primary 1, b silent', 'a at 1'],
  ['a host is new, and was not asked yet', 'a at 1', 'a primary 1, b standby 1, c unasked', 'a at 1'],
  ['a new host says that it is a primary of the same timeline', 'a at 1', 'a primary 1, c primary 1', 'a at 1, not c'],
  // a planned switchover
  ['the primary is down', 'a at 1', 'a silent, b standby 1', 'nobody at 1'],
  ['it is a standby before the other is promoted', 'a at 1', 'a standby 1, b standby 1', 'nobody at 1'],
  ['the other is promoted', 'a at 1', 'a standby 1, b primary 2', 'b at 2'],
  // a crash, and a promotion
  ['the other is promoted, the old one is down', 'a at 1', 'a silent, b primary 2', 'b at 2'],
  ['the old one is back, before anyone is promoted', 'a at 1', 'a primary 1, b standby 1', 'a at 1'],
  ['the old one is back as it was', 'b at 2', 'a primary 1, b primary 2', 'b at 2, not a'],
  ['the old one is back as it was, while the new one is down', 'b at 2', 'a primary 1, b silent', 'nobody at 2, not a'],
  // split brain
  ['both go on', 'a at 1', 'a primary 1, b primary 2', 'b at 2, not a'],
  ['both go on, and the new one tells no timeline', 'a at 1', 'a primary 1, b primary ?', 'a at 1, not b'],
  ['two of one timeline: the one that was known', 'b at 2', 'a primary 2, b primary 2', 'b at 2, not a'],
  [
    'two of one timeline, and the one that was known is down',
    'c at 2',
    'a primary 2, b primary 2',
    'nobody at 2; disputed a b',
  ],
  ['three', 'a at 1', 'a primary 1, b primary 2, c primary 3', 'c at 3, not a b'],
  // two addresses of one server
  ['nobody was known', '', 'a primary 1 since x, b primary 1 since x', 'a at 1'],
  ['one was known', 'b at 1', 'a primary 1 since x, b primary 1 since x', 'b at 1'],
  ['the one that was known is gone', 'a at 1', 'a silent, b primary 1 since x, c primary 1 since x', 'b at 1'],
  [
    'one of three is another',
    '',
    'a primary 1 since x, b primary 1 since x, c primary 1 since y',
    'nobody at 0; disputed a b c',
  ],
  ['of another cluster', '', 'a primary 1 since x, b primary 1 of X since x', 'a at 1; foreign b'],
  // fenced
  ['it says nothing', 'b at 2, not a', 'a silent, b primary 2', 'b at 2, not a'],
  ['it is a primary of the old timeline', 'b at 2, not a', 'a primary 1, b primary 2', 'b at 2, not a'],
  ['it is a primary of a higher timeline', 'b at 2, not a', 'a primary 3, b primary 2', 'b at 2, not a'],
  ['it is a primary, and nobody else is there', 'b at 2, not a', 'a primary 3, b silent', 'nobody at 2, not a'],
  ['it is a standby of the old timeline', 'b at 2, not a', 'a standby 1, b primary 2', 'b at 2, not a'],
  ['it is a standby of the new timeline', 'b at 2, not a', 'a standby 2, b primary 2', 'b at 2'],
  ['it is a standby of a higher timeline', 'b at 2, not a', 'a standby 3, b primary 3', 'b at 3'],
  ['it is a standby that tells no timeline', 'b at 2, not a', 'a standby ?, b primary 2', 'b at 2'],
  ['it is in no list any more', 'b at 2, not a', 'b primary 2', 'b at 2, not a'],
  ['it is a standby of another cluster', 'b at 2, not a', 'a standby 2 of X, b primary 2', 'b at 2, not a; foreign a'],
  // banned
  ['the primary', 'a at 1', 'a primary 1 banned, b standby 1', 'nobody at 1'],
  ['the primary, and another is promoted', 'a at 1', 'a primary 1 banned, b primary 2', 'b at 2, not a'],
  ['the one that is promoted', 'a at 1', 'a silent, b primary 2 banned', 'nobody at 1'],
  ['the primary is so no longer', 'a at 1', 'a primary 1, b standby 1', 'a at 1'],
  // another cluster
  ['it is a primary', 'a at 1', 'a primary 1, b primary 7 of X', 'a at 1; foreign b'],
  ['it is a standby', 'a at 1', 'a primary 1, b standby 7 of X', 'a at 1; foreign b'],
  ['it is a primary, and the own one is down', 'a at 1', 'a silent, b primary 7 of X', 'nobody at 1; foreign b'],
  ['at the start: that of the highest timeline is the own', '', 'a primary 1 of X, b primary 2', 'b at 2; foreign a'],
  ['at the start: that of a primary is the own', '', 'a standby 1 of X, b primary 1', 'b at 1; foreign a'],
  ['a host that does not tell is none', 'a at 1', 'a silent, b primary 2 of nobody', 'b at 2'],
  // timelines that are known
  ['a primary of a lower one, which was never seen', 'b at 2', 'c primary 1, b silent', 'nobody at 2, not c'],
  ['a primary of the same one, which was never seen', 'b at 2', 'c primary 2, b silent', 'c at 2'],
]

describe('elect', () => {
  test.each(cases)('%s | %s | %s', (_title, before, hosts, after) => {
    expect(outcome(elect(voices(hosts), before === '' ? nothingKnown : known(before)))).toBe(after)
  })

  test('what is known of the cluster is what was heard first', () => {
    expect(elect(voices('a primary 1, b standby 1'), nothingKnown).known.systemId).toBe('S')
    expect(elect(voices('a standby 1 of nobody, b silent'), nothingKnown).known.systemId).toBeUndefined()
    expect(elect(voices('a primary 1 of X, b standby 1'), known('c at 1')).known.systemId).toBe('S')
  })

  test('who was elected last is known while nobody is', () => {
    const { known: next } = elect(voices('a silent, b standby 1'), known('a at 1'))
    expect(next).toMatchObject({ primary: 'a', timeline: 1 })
  })
})

const names = ['a', 'b', 'c', 'd']
const anyVoice = fc.record({
  hasSpoken: fc.boolean(),
  isInRecovery: fc.constantFrom(true, false, false, undefined),
  timeline: fc.constantFrom(1, 2, 3, 4, undefined),
  systemId: fc.constantFrom('S', 'S', 'S', 'X', undefined),
  startedAt: fc.constantFrom('x', 'y', undefined, undefined),
  isBanned: fc.constantFrom(false, false, false, true),
})
/** One host says something else. */
const change = fc.record({ name: fc.constantFrom(...names), says: anyVoice })
const history = fc.tuple(fc.tuple(anyVoice, anyVoice, anyVoice, anyVoice), fc.array(change, { maxLength: 30 }))

/** Plays a history, and shows each election with what was known before it. */
function play(
  [first, changes]: typeof history extends fc.Arbitrary<infer T> ? T : never,
  look: (said: readonly Voice[], before: Known, election: Election) => void,
): void {
  let said: Voice[] = first.map((says, n) => ({ ...says, name: names[n]! }))
  let before = nothingKnown
  const turn = (): void => {
    const election = elect(said, before)
    look(said, before, election)
    before = election.known
  }
  turn()
  for (const { name, says } of changes) {
    said = said.map((one) => (one.name === name ? { ...says, name } : one))
    turn()
  }
}

describe('whatever hosts say, in whatever order', () => {
  test('the primary is out of recovery, of this cluster, not banned, and was not fenced', () => {
    fc.assert(
      fc.property(history, (scene) =>
        play(scene, (said, before, { primary, known: next }) => {
          if (primary === undefined) return
          const chosen = said.find(({ name }) => name === primary)!
          expect(chosen).toMatchObject({ isInRecovery: false, isBanned: false })
          expect(chosen.systemId ?? next.systemId).toBe(next.systemId)
          expect(before.fenced.has(primary)).toBe(false)
          expect(next.fenced.has(primary)).toBe(false)
        }),
      ),
    )
  })

  test('nobody is it with a lower timeline than was known, and what is known only rises', () => {
    fc.assert(
      fc.property(history, (scene) =>
        play(scene, (said, before, { primary, known: next }) => {
          expect(next.timeline).toBeGreaterThanOrEqual(before.timeline)
          const timeline = said.find(({ name }) => name === primary)?.timeline
          if (timeline !== undefined) expect(timeline).toBeGreaterThanOrEqual(before.timeline)
        }),
      ),
    )
  })

  test('no other host of the cluster that is out of recovery may be used', () => {
    fc.assert(
      fc.property(history, (scene) =>
        play(scene, (said, _before, { primary, foreign, known: next }) => {
          if (primary === undefined) return
          const chosen = said.find(({ name }) => name === primary)!
          for (const { name, isInRecovery, startedAt } of said) {
            if (isInRecovery !== false || name === primary) continue
            if (startedAt !== undefined && startedAt === chosen.startedAt) continue // the same server
            expect(next.fenced.has(name) || foreign.has(name)).toBe(true)
          }
        }),
      ),
    )
  })

  test('who is fenced stays so until it is a standby, and not one of an older timeline', () => {
    fc.assert(
      fc.property(history, (scene) =>
        play(scene, (said, before, { known: next }) => {
          for (const name of before.fenced) {
            if (next.fenced.has(name)) continue
            const { isInRecovery, timeline } = said.find((one) => one.name === name)!
            expect(isInRecovery).toBe(true)
            expect(timeline ?? before.timeline).toBeGreaterThanOrEqual(before.timeline)
          }
        }),
      ),
    )
  })

  test('asked again, it says the same', () => {
    fc.assert(
      fc.property(history, (scene) =>
        play(scene, (said, _before, election) => {
          expect(outcome(elect(said, election.known))).toBe(outcome(election))
        }),
      ),
    )
  })

  test('the order of the hosts does not matter within one cluster', () => {
    fc.assert(
      fc.property(history, (scene) =>
        play(scene, (said, before, election) => {
          if (said.some(({ systemId, startedAt }) => systemId === 'X' || startedAt !== undefined)) return
          expect(outcome(elect([...said].reverse(), before))).toBe(outcome(election))
        }),
      ),
    )
  })
})
