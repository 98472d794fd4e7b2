// The messages of a client as far as they tell of session state: texts, and which prepared statement is executed when.
// Texts and names are read a character a byte (latin1): only the client knows what encoding it speaks.

import type { Cutter } from '../io/cutter.js'
import { bytesOf } from '../protocol/byte-text.js'
import type { Frames } from '../protocol/framing.js'
import * as frontend from '../protocol/frontend.js'
import type { ClientRelay } from '../relay/client-relay.js'
import type { MessageWatch } from '../relay/events.js'
import * as request from '../relay/outstanding.js'
import type { ParameterSet, TrackedNames } from '../relay/parameters.js'
import type { Classifier } from './classify.js'
import { type Effects, either, harmless, unclear } from './effects.js'
import { type SettingSet, setting } from './settings.js'
import { type SessionNote, SessionTracker, type StateOwner } from './tracker.js'

/** Longer texts are not read. */
const longestText = 64 * 1024

/** Where the names in a Parse, Bind or Close are looked for. */
const nameReach = 1024

/** Most statements of a client that are told apart. */
const mostPrepared = 200

/** How a client is watched. */
export interface WatchPlan {
  /** `session_state` */
  readonly mode: 'warn' | 'track'
  /** Parameters that go along with a client. */
  readonly tracked: TrackedNames
  /** What servers report of a session that has set nothing. */
  readonly reported: ParameterSet
  readonly classifier: Classifier
  /** What it had set before it was watched so. */
  readonly settings: SettingSet
}

export function watchSession(
  owner: StateOwner,
  relay: ClientRelay,
  { mode, tracked, reported, classifier, settings }: WatchPlan,
): SessionWatch {
  const names = new Map([...tracked].filter(([name]) => reported.get(name) !== undefined))
  const tracker = new SessionTracker(owner, mode, names)
  if (mode === 'track') {
    // What servers do not report is carried by statements alone, not by two ways that know nothing of each other.
    const taken = relay.parameters.takeUnreported(reported)
    tracker.settings = settings.with(taken.map(([name, value]) => ({ name, sql: setting(name, latin1(value)) })))
  }
  return new SessionWatch(relay, tracker, classifier)
}

const latin1 = (text: string): string => bytesOf(text).toString('latin1')

export class SessionWatch implements MessageWatch {
  readonly tracker: SessionTracker
  /** What goes with the Query that was seen last. */
  note: SessionNote | null = null
  private readonly client: ClientRelay
  private readonly classifier: Classifier
  /** What prepared statements would do, by the client's names for them, where it is not nothing. '' is the unnamed one. */
  private readonly prepared = new Map<string, Effects>()
  // What those would do that are too many to be told apart.
  private others: Effects = harmless
  // The statement bound last in the exchange under way.
  private bound: Effects = harmless
  private boundNote: SessionNote | null = null

  constructor(client: ClientRelay, tracker: SessionTracker, classifier: Classifier) {
    this.client = client
    this.tracker = tracker
    this.classifier = classifier
  }

  get mayHold(): boolean {
    return this.tracker.mayHold
  }

  /**
   * Sees the message that `frames` found at `at`; the client has a server.
   * @returns 0, or how many bytes of it are needed first
   */
  see(frames: Frames, cutter: Cutter, at: number): number {
    this.note = null
    if (frames.code === frontend.Describe || (frames.code === frontend.Bind && this.isHarmless)) return 0
    const length = frames.end - at
    const isText = frames.code === frontend.Query || frames.code === frontend.Parse
    const needed = Math.min(length, isText && length <= longestText ? length : nameReach)
    const { chunk } = cutter
    if (chunk.length - at < needed) return needed
    switch (frames.code) {
      case frontend.Query:
        this.seeQuery(length > longestText ? undefined : chunk.toString('latin1', at + 5, frames.end - 1))
        break
      case frontend.Parse:
        this.seeParse(chunk.subarray(at + 5, Math.min(frames.end, chunk.length)), length <= longestText)
        break
      case frontend.Bind:
        this.seeBind(chunk.subarray(at + 5, Math.min(frames.end, at + nameReach, chunk.length)))
        break
      case frontend.Close:
        if (chunk[at + 5] === 0x53) this.prepared.delete(chunk.toString('latin1', at + 6, frames.end - 1)) // S
    }
    return 0
  }

  /** Nothing was ever prepared or bound that matters. That is the usual case. */
  private get isHarmless(): boolean {
    return this.prepared.size === 0 && this.others === harmless && this.bound === harmless
  }

  /** A Sync is about to be sent. */
  seeSync(): SessionNote | null {
    const { bound } = this
    const note = bound === harmless ? this.boundNote : this.tracker.onUse(bound, this.isAlone())
    this.boundNote = null
    this.bound = harmless
    return note
  }

  /** Returns whether the server owes this client one Execute, and nothing of another exchange. */
  private isAlone(): boolean {
    const { dues, server } = this.client
    const { owed } = server!
    let count = 0
    for (let i = owed.length - dues.length; i < owed.length; i++) {
      const kind = owed.kindAt(i)
      if (request.endsWithReady(kind)) return false
      if (kind === request.Execute) count++
    }
    return count === 1
  }

  private seeQuery(text: string | undefined): void {
    const effects = text === undefined ? unclear : this.classifier.of(text)
    const isAlone = this.client.sentWhole
    this.useBound()
    if (effects === harmless) return
    this.use(effects)
    this.note = this.tracker.onUse(effects, isAlone)
  }

  private seeParse(body: Buffer, isWhole: boolean): void {
    const nameEnd = body.indexOf(0)
    const textEnd = nameEnd < 0 ? -1 : body.indexOf(0, nameEnd + 1)
    if (nameEnd < 0 || (isWhole && textEnd < 0)) return // broken, for the server to refuse
    const name = body.toString('latin1', 0, nameEnd)
    const effects = isWhole ? this.classifier.of(body.toString('latin1', nameEnd + 1, textEnd)) : unclear
    this.prepare(name, effects)
  }

  /** A Parse may fail because of the name, and then the older statement stays: only the unnamed one is replaced for sure. */
  private prepare(name: string, effects: Effects): void {
    if (effects === harmless) {
      if (name === '') this.prepared.delete(name)
    } else if (name === '') {
      this.prepared.set(name, effects)
    } else if (this.prepared.has(name) || this.prepared.size < mostPrepared) {
      this.prepared.set(name, either(this.prepared.get(name), effects))
    } else {
      this.others = either(this.others, effects)
    }
  }

  private seeBind(names: Buffer): void {
    const portalEnd = names.indexOf(0)
    const nameEnd = portalEnd < 0 ? -1 : names.indexOf(0, portalEnd + 1)
    this.useBound()
    this.bound = nameEnd < 0 ? unclear : this.named(names.toString('latin1', portalEnd + 1, nameEnd))
    this.use(this.bound)
  }

  private named(name: string): Effects {
    const known = this.prepared.get(name)
    if (name === '' || this.others === harmless) return known ?? harmless
    return either(known, this.others)
  }

  /** Another comes in the same exchange: whether it lasts, that one may decide. */
  private useBound(): void {
    if (this.bound === harmless) return
    this.boundNote = this.tracker.onUse(this.bound, false)
    this.bound = harmless
  }

  /** Statements that this one prepares or executes by their SQL names. */
  private use(effects: Effects): void {
    for (const [name, inner] of effects.prepares) this.prepare(name, inner)
    for (const name of effects.executes) {
      const inner = this.named(name)
      if (inner !== harmless) this.tracker.onUse(inner, false)
    }
  }
}
