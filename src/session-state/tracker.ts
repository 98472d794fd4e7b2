// The session state of one client in transaction or statement mode: warned of, or carried along and pinned (`session_state`).

import * as backend from '../protocol/backend.js'
import type { ClientRelay } from '../relay/client-relay.js'
import { Note } from '../relay/note.js'
import type { Answer } from '../relay/own-query.js'
import { isAscii, type TrackedNames } from '../relay/parameters.js'
import type { ServerRelay } from '../relay/server-relay.js'
import {
  allSettings,
  askable,
  type Change,
  Cursors,
  type Effects,
  Listening,
  Locks,
  Settings,
  Temporary,
  Unclear,
  UnknownSettings,
} from './effects.js'
import { probeQuery, readProbe } from './probe.js'
import { noSettings, type SettingSet } from './settings.js'

/** What a client is told, and what SHOW CLIENTS says, of each kind. */
const words: readonly (readonly [kind: number, word: string, what: string])[] = [
  [Settings | UnknownSettings, 'settings', 'a setting'],
  [Listening, 'listen', 'LISTEN'],
  [Locks, 'locks', 'an advisory lock of the session'],
  [Temporary, 'temp', 'a temporary object'],
  [Cursors, 'cursors', 'a cursor WITH HOLD'],
]

/** Most settings that a server is asked about at a time. */
const mostAsked = 500

/** A server that can't tell is asked as often as this: a late CancelRequest of the client may hit the question. */
const mostAttempts = 3

/** A server connection, which has the state of whoever has it. */
export interface StatefulServer {
  readonly relay: ServerRelay | undefined
  /** Whose session it is before anybody says otherwise. */
  readonly loginUser: string
  /** It has what nobody else may find there. */
  isDirty: boolean
  settings: SettingSet
  /** Sends a query of the pooler's own. */
  ask(bytes: Buffer, onAnswer: (answer: Answer | Error) => void): void
  warn(text: string): void
  /** Its client has left it meanwhile: it is free. */
  giveBack(): void
}

/** The session that a state belongs to. */
export interface StateOwner {
  readonly server: StatefulServer | null
  readonly relay: ClientRelay | undefined
  /** Since when it has had nothing to do, ms on the clock. */
  readonly quietSince: number
}

/** What is to be done when a Query or Sync has been answered without an error. */
export class SessionNote extends Note {
  private readonly state: SessionTracker
  private readonly kinds: number
  private readonly changes: readonly Change[]

  constructor(state: SessionTracker, kinds: number, changes: readonly Change[]) {
    super()
    this.state = state
    this.kinds = kinds
    this.changes = changes
  }

  override confirm(): void {
    this.state.onSucceeded(this.kinds, this.changes)
  }
}

export class SessionTracker {
  /** Given to each server that this client gets. */
  settings: SettingSet = noSettings
  /** What holds the client to the server that it has; bits. */
  private pins = 0
  private readonly owner: StateOwner
  private readonly mode: 'warn' | 'track'
  private readonly tracked: TrackedNames
  private warned = 0
  /** The server is being asked what the session holds. */
  isAsking = false
  // What the server is to be asked about when it is idle.
  private doubtful = 0
  private readonly doubtfulNames = new Set<string>()
  private attempts = 0

  constructor(owner: StateOwner, mode: 'warn' | 'track', tracked: TrackedNames) {
    this.owner = owner
    this.mode = mode
    this.tracked = tracked
  }

  /** The session may hold what makes names in a text mean something else than in others. */
  get mayHold(): boolean {
    if (this.isAsking || this.doubtfulNames.size > 0) return true
    return ((this.pins | this.doubtful) & (Temporary | UnknownSettings)) !== 0
  }

  /** A session may have, of this client's, what another one can't be given, or what nobody has asked for yet. */
  get isAttached(): boolean {
    return this.isAsking || (this.pins | this.doubtful) !== 0 || this.doubtfulNames.size > 0
  }

  /** For SHOW CLIENTS: `pinned: listen, temp; settings: 2`. */
  describe(): string {
    const pins = words.flatMap(([kind, word]) => ((this.pins & kind) === 0 ? [] : [word]))
    const parts = pins.length === 0 ? [] : [`pinned: ${pins.join(', ')}`]
    if (this.settings.size > 0) parts.push(`settings: ${this.settings.size}`)
    return parts.join('; ')
  }

  /**
   * Something with these effects is about to be carried out.
   * @param isAlone by itself in its exchange: where no transaction is open afterwards, it lasts
   * @returns what is to be done when it has succeeded
   */
  onUse(effects: Effects, isAlone: boolean): SessionNote | null {
    const kinds = this.count(effects)
    if (this.mode === 'warn') {
      const news = kinds & ~this.warned
      return news === 0 ? null : new SessionNote(this, news, [])
    }
    this.doubt(effects.begins | (effects.ends & this.pins & askable), [])
    const { certain, names } = effects
    // While a setting pins it, only what may end that matters.
    if ((this.pins & UnknownSettings) !== 0 && !names.includes(allSettings)) return null
    if (!isAlone || certain === undefined) {
      this.doubt(0, names)
      return null
    }
    const changes = certain.filter((change) => !this.tracked.has(change.name))
    return changes.length === 0 ? null : new SessionNote(this, 0, changes)
  }

  onSucceeded(kinds: number, changes: readonly Change[]): void {
    const { server, relay } = this.owner
    if (server === null || relay === undefined) return
    if (kinds !== 0) return this.warn(kinds, relay)
    if (server.relay!.status === backend.Idle) this.change(server, changes)
    else for (const { name } of changes) this.doubtfulNames.add(name)
  }

  /** Returns whether the client needs its server no more, now that it is idle. If that is to be asked first, it is, and the answer is no. */
  tryRelease(server: StatefulServer): boolean {
    if (this.isAsking) return false
    if (this.doubtful !== 0 || this.doubtfulNames.size > 0) this.ask(server)
    return !this.isAsking && this.pins === 0
  }

  /**
   * The client leaves its server.
   * @returns whether it is still being asked: it is given back when it has answered
   */
  leave(server: StatefulServer): boolean {
    if ((this.pins | this.doubtful) !== 0 || this.doubtfulNames.size > 0) server.isDirty = true
    return this.isAsking && server.relay?.owed.length === 1
  }

  /** Kinds that the client is to be warned of; they are counted. */
  private count({ begins, sets }: Effects): number {
    const counters = this.owner.relay!.counters
    let kinds = begins & askable
    if ((begins & UnknownSettings) !== 0 || sets.some((name) => !this.tracked.has(name))) kinds |= Settings
    if ((kinds & Settings) !== 0) counters.sessionSettings++
    if ((kinds & Listening) !== 0) counters.sessionListens++
    if ((kinds & Locks) !== 0) counters.sessionLocks++
    if ((kinds & Temporary) !== 0) counters.sessionTemporaries++
    if ((kinds & Cursors) !== 0) counters.sessionCursors++
    return kinds
  }

  private warn(kinds: number, relay: ClientRelay): void {
    this.warned |= kinds
    for (const [kind, , what] of words) {
      if ((kinds & kind) === 0) continue
      const fields = {
        D: 'Other clients use the same server connection between the transactions of this one.',
        H: 'session_state = track in the configuration of the pooler keeps it with the client, and so does pool_mode = session.',
      }
      relay.socket.write(
        backend.noticeResponse(`${what} does not stay with this client (session_state = warn)`, fields),
      )
    }
  }

  private doubt(kinds: number, names: readonly string[]): void {
    this.doubtful |= kinds & (askable | UnknownSettings)
    if ((kinds & Unclear) !== 0) this.doubtful |= askable
    for (const name of names) if (!this.tracked.has(name)) this.doubtfulNames.add(name)
  }

  private ask(server: StatefulServer): void {
    const kinds = this.doubtful
    const names = this.takeNames()
    this.doubtful = 0
    this.pins |= kinds & UnknownSettings // nobody can tell which it was
    if (names.length > mostAsked) this.pins |= UnknownSettings
    const asked = names.length > mostAsked ? [] : names
    if ((kinds & askable) === 0 && asked.length === 0) return
    this.isAsking = true
    this.attempts++
    this.owner.relay!.requestSince = this.owner.quietSince
    server.ask(probeQuery(kinds, asked), (answer) => this.onTold(server, kinds, asked, answer))
  }

  private takeNames(): string[] {
    const names = this.doubtfulNames
    if (names.delete(allSettings)) for (const name of this.settings.names) names.add(name)
    const taken = [...names]
    names.clear()
    return taken
  }

  private onTold(server: StatefulServer, kinds: number, names: readonly string[], answer: Answer | Error): void {
    this.isAsking = false
    if (answer instanceof Error) return // the connection is lost
    if (answer.error === undefined) {
      this.attempts = 0
      const found = readProbe(answer, kinds, server.loginUser)
      this.pins = (this.pins & ~(kinds & askable)) | found.kinds
      // The answer was read as UTF-8.
      if (!this.isUnicode && found.changes.some(({ sql }) => !isAscii(sql))) this.pins |= UnknownSettings
      this.change(server, found.changes)
    } else if (this.attempts < mostAttempts) {
      this.doubt(kinds, names)
    } else {
      this.attempts = 0
      this.pins |= (kinds & askable) | (names.length > 0 ? UnknownSettings : 0)
      server.warn(`session state can't be told: ${answer.error.message}`)
    }
    if (this.owner.server === server) return // looked at again in a moment
    this.leave(server)
    server.giveBack()
  }

  private change(server: StatefulServer, changes: readonly Change[]): void {
    const next = this.settings.with(changes)
    if ((this.pins & UnknownSettings) !== 0 && changes.some(({ name }) => name === allSettings)) {
      // All are back at their default, those too that nobody knew; who acts is none of them.
      this.pins &= ~UnknownSettings
      this.doubt(0, ['session_authorization', 'role'])
    }
    this.settings = server.settings = next
    if (!next.isBounded) this.pins |= UnknownSettings
  }

  private get isUnicode(): boolean {
    return /^(?:utf-?8|unicode)$/i.test(this.owner.relay!.parameters.get('client_encoding') ?? '')
  }
}
