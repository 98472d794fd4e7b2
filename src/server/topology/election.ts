// Which of an entry's hosts is the primary: a pure function of what they said, and of what was known before.

/** What one host of an entry has said. */
export interface Voice {
  readonly name: string
  /** It has answered, or its time is over; before that nobody is elected. */
  readonly hasSpoken: boolean
  /** Its own word; undefined where it has said nothing, or nothing that is still so. */
  readonly isInRecovery: boolean | undefined
  readonly timeline: number | undefined
  readonly systemId: string | undefined
  /** When its server was started: two voices that say the same are addresses of one server. */
  readonly startedAt: string | undefined
  /** By an administrator: it is no candidate, but what it says counts otherwise. */
  readonly isBanned: boolean
}

/** What an entry remembers from one election to the next; lost with the process. */
export interface Known {
  /** Of the databases that this entry is for. */
  readonly systemId: string | undefined
  /** The highest that a primary of it was elected with. */
  readonly timeline: number
  /** Elected last, whether it is still there or not. */
  readonly primary: string | undefined
  /** Not to be used before they are standbys of the timeline that is known, or an administrator says so. */
  readonly fenced: ReadonlySet<string>
}

export const nothingKnown: Known = { systemId: undefined, timeline: 0, primary: undefined, fenced: new Set() }

export interface Election {
  /** Where writes go now; undefined: nowhere. */
  readonly primary: string | undefined
  /** Of another system identifier: never used. */
  readonly foreign: ReadonlySet<string>
  /** Primaries of one timeline, of which none was known before: none is elected. */
  readonly disputed: ReadonlySet<string>
  readonly known: Known
}

/**
 * The primary is the host out of recovery that has the highest timeline, at least the one known, and the system identifier
 * that is known. Every other host out of recovery is fenced. Of two with one timeline, the one known before stays; where
 * none was, it is not guessed.
 */
export function elect(voices: readonly Voice[], known: Known): Election {
  const foreign = new Set<string>()
  if (!voices.every(({ hasSpoken }) => hasSpoken) && known.primary === undefined) {
    return { primary: undefined, foreign, disputed: new Set(), known }
  }
  const systemId = known.systemId ?? systemOf(voices)
  for (const voice of voices) {
    if (systemId !== undefined && voice.systemId !== undefined && voice.systemId !== systemId) foreign.add(voice.name)
  }
  const own = voices.filter(({ name }) => !foreign.has(name))
  const fenced = new Set([...known.fenced].filter((name) => !hasReturned(own, name, known)))
  const writable = own.filter(({ isInRecovery }) => isInRecovery === false)
  const candidates = writable.filter(({ name, isBanned }) => !isBanned && !fenced.has(name))
  const highest = Math.max(known.timeline, ...candidates.map(({ timeline }) => timeline ?? known.timeline))
  const best = candidates.filter(({ timeline }) => (timeline ?? highest) === highest)
  const isOne = best.every((voice) => isSameServer(voice, best[0]!))
  const primary = best.find(({ name }) => name === known.primary) ?? (isOne ? best[0] : undefined)
  const disputed = new Set(primary === undefined ? best.map(({ name }) => name) : [])
  if (primary === undefined) {
    for (const { name, timeline } of writable) if (timeline !== undefined && timeline < known.timeline) fenced.add(name)
    return { primary: undefined, foreign, disputed, known: { ...known, systemId, fenced } }
  }
  for (const voice of writable) if (!isSameServer(voice, primary)) fenced.add(voice.name)
  const next = { systemId, timeline: highest, primary: primary.name, fenced }
  return { primary: primary.name, foreign, disputed, known: next }
}

/** Returns whether they are one host, or two addresses of one server. */
function isSameServer(one: Voice, other: Voice): boolean {
  if (one.name === other.name) return true
  return one.startedAt !== undefined && one.startedAt === other.startedAt && one.systemId === other.systemId
}

/** That of the host out of recovery with the highest timeline, or of the first that has said one. */
function systemOf(voices: readonly Voice[]): string | undefined {
  const told = voices.filter(({ systemId }) => systemId !== undefined)
  const primaries = told.filter(({ isInRecovery }) => isInRecovery === false)
  const highest = Math.max(...primaries.map(({ timeline }) => timeline ?? 0))
  return (primaries.find(({ timeline }) => (timeline ?? 0) === highest) ?? told[0])?.systemId
}

/** A host that was fenced is a standby of the new timeline. */
function hasReturned(voices: readonly Voice[], name: string, { timeline }: Known): boolean {
  const voice = voices.find((other) => other.name === name)
  if (voice === undefined) return false
  return voice.isInRecovery === true && (voice.timeline === undefined || voice.timeline >= timeline)
}
