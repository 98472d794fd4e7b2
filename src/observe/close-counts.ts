// How often connections were closed, by reason.

/** Memory is bounded by the reasons that there are: no detail of a reason is kept. */
export class CloseCounts {
  private readonly byReason = new Map<string, number>()

  add(reason: string, count = 1): void {
    this.byReason.set(reason, (this.byReason.get(reason) ?? 0) + count)
  }

  addAll(others: CloseCounts): void {
    for (const [reason, count] of others) this.add(reason, count)
  }

  [Symbol.iterator](): IterableIterator<[reason: string, count: number]> {
    return this.byReason.entries()
  }
}
