// Two poolers' answers side by side, with the differences that are wanted taken out.

import type { Difference } from './differences/difference.js'
import type { Answers } from './scene.js'

export class Comparison {
  readonly #differences: readonly Difference[]
  readonly #met = new Set<Difference>()
  readonly #scenes: string[] = []

  /** @param version of the pgbouncer compared with, such as 1.18 */
  constructor(differences: readonly Difference[], version: string) {
    this.#differences = differences.filter(
      ({ before, since }) =>
        (before === undefined || isOlder(version, before)) && (since === undefined || !isOlder(version, since)),
    )
  }

  /** What remains different: by answer, as `theirs` and `ours`. What only we answer is no difference. */
  compare(scene: string, theirs: Answers, ours: Answers): Record<'theirs' | 'ours', Answers> {
    if (Object.keys(theirs).length > 0) this.#scenes.push(scene)
    const left: Record<'theirs' | 'ours', Answers> = { theirs: {}, ours: {} }
    for (const [name, answer] of Object.entries(theirs)) {
      let sides = [lines(answer), lines(ours[name])]
      for (const difference of this.#differences) {
        if (equal(sides)) break
        if (!difference.scenes.test(scene) || !difference.answers.test(name)) continue
        const leveled = difference.level === undefined ? [[], []] : sides.map(difference.level)
        if (JSON.stringify(leveled) !== JSON.stringify(sides)) this.#met.add(difference)
        sides = leveled.map((side) => [...side])
      }
      if (equal(sides)) continue
      left.theirs[name] = sides[0]!
      left.ours[name] = sides[1]!
    }
    return left
  }

  /** Listed, but not found in any scene that was played: there is no such difference any more. */
  get unmet(): string[] {
    const wanted = this.#differences.filter((one) => !one.sometimes && !this.#met.has(one))
    return wanted.filter(({ scenes }) => this.#scenes.some((scene) => scenes.test(scene))).map(({ why }) => why)
  }
}

function lines(answer: Answers[string] | undefined): string[] {
  if (answer === undefined) return ['(no such answer)']
  return typeof answer === 'string' ? [answer] : [...answer]
}

function equal([theirs, ours]: readonly (readonly string[])[]): boolean {
  return JSON.stringify(theirs) === JSON.stringify(ours)
}

function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [thanMajor = 0, thanMinor = 0] = than.split('.').map(Number)
  return major < thanMajor || (major === thanMajor && minor < thanMinor)
}

export { isOlder }
