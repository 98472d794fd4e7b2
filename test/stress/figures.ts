// What a run of the stress has done, in numbers.

export class Figures {
  readonly #counts = new Map<string, number>()

  count(what: string, by = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by)
  }

  of(what: string): number {
    return this.#counts.get(what) ?? 0
  }

  /** Those whose name begins so, the most frequent first. */
  under(prefix: string): [string, number][] {
    return [...this.#counts]
      .filter(([what]) => what.startsWith(prefix))
      .map(([what, count]): [string, number] => [what.slice(prefix.length), count])
      .sort(([, one], [, other]) => other - one)
  }
}
