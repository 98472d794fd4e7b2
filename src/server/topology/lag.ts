// How far standbys are behind their primary: by where that was when, not by clocks of different machines.

/** Where a primary was when it was probed. */
interface Mark {
  readonly at: number
  readonly lsn: bigint
}

/** When there are more, those go that lie close together for their age: what is long ago is known less exactly. */
const mostMarks = 600

/** Marks of an age that are kept are this part of it from each other, at least. */
const spacing = 1 / 64

export class LagMeter {
  private marks: Mark[] = []

  /** The primary was probed. Marks at which it had written nothing new are one. */
  note(lsn: bigint, now: number): void {
    const last = this.marks.at(-1)
    if (last !== undefined && lsn < last.lsn)
      this.marks = [] // another primary, which begins at an earlier place
    else if (last?.lsn === lsn) return
    this.marks.push({ at: now, lsn })
    if (this.marks.length > mostMarks) this.thin(now)
  }

  private thin(now: number): void {
    const kept: Mark[] = []
    for (const mark of this.marks.reverse()) {
      const newer = kept.at(-1)
      if (newer === undefined || newer.at - mark.at >= (now - mark.at) * spacing) kept.push(mark)
    }
    this.marks = kept.reverse().slice(-mostMarks)
  }

  /** How long ago the primary first was further than `lsn`, ms; 0: it was not, as far as is known. Undefined: nothing is. */
  behind(lsn: bigint, now: number): number | undefined {
    if (this.marks.length === 0) return undefined
    const ahead = this.marks.find((mark) => mark.lsn > lsn)
    return ahead === undefined ? 0 : now - ahead.at
  }
}
