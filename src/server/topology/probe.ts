// The one connection to a host over which it is asked, again and again, what it is.

import type { Clock, Timer } from '../../observe/clock.js'
import * as backend from '../../protocol/backend.js'
import { ConnectionLost } from '../../protocol/conversation.js'
import * as frontend from '../../protocol/frontend.js'
import type { MessageReader } from '../../relay/message-reader.js'
import { type Answer, OwnQuery } from '../../relay/own-query.js'
import { Attempt } from '../attempt.js'
import { connectFailure } from '../connect-failed.js'
import { leavePromise } from '../leave-promise.js'
import type { OpenedServer } from '../open-server.js'
import type { Heard, Host } from './host.js'
import { type Answers, followedQuestion, positionQuestion, readReport, roleQuestion, systemQuestion } from './report.js'

/** What a probe needs of those who want to know. */
export interface ProbeOwner {
  readonly clock: Clock
  /** ms between the beginnings of two checks of this host. */
  periodOf(host: Host): number
  /** ms after which a check has failed. */
  readonly checkTimeout: number
  /** Opens a connection to it; undefined where there is nobody to log in as yet. */
  open(host: Host, attempt: Attempt): Promise<OpenedServer> | undefined
  /** The login was refused: another is tried next time, where there is another. */
  onRefused(host: Host): void
  /** Bytes read so far on each of the other connections to it. */
  bytesFrom(host: Host): ReadonlyMap<object, number>
  /** A check is over that began at `begunAt`, ms on the clock. Called outside of any promise. */
  onHeard(host: Host, heard: Heard, begunAt: number): void
}

/** However much happens, a host is asked no more often than this, ms. */
const shortestPeriod = 20

/** 57P03: starting up, shutting down or recovering; 57P01 and 57P02: about to end. */
const notServing: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03'])

export class Probe {
  private readonly host: Host
  private readonly owner: ProbeOwner
  private link: Link | undefined
  private attempt: Attempt | undefined
  private timer: Timer | undefined
  private begunAt = Number.NEGATIVE_INFINITY
  /** Something has happened while a check was under way: another follows at once. */
  private isHurried = false
  private isStopped = false

  constructor(host: Host, owner: ProbeOwner) {
    this.host = host
    this.owner = owner
  }

  /** Checks now; where a check is under way, right behind it. */
  hurry(): void {
    if (this.isStopped) return
    this.isHurried = true
    if (this.attempt === undefined) this.plan()
  }

  stop(): void {
    this.isStopped = true
    this.timer?.cancel()
    this.attempt?.giveUp(new ConnectionLost('given up'))
    this.use(undefined)
  }

  /** Asks over this connection from now on. */
  private use(link: Link | undefined): void {
    const former = this.link
    this.link = link
    former?.close()
  }

  private check(): void {
    if (this.isStopped) return
    this.timer?.cancel()
    const { owner, host } = this
    this.isHurried = false
    const begunAt = owner.clock.now()
    this.begunAt = begunAt
    const attempt = new Attempt()
    this.attempt = attempt
    const bytes = owner.bytesFrom(host)
    let isLate = false
    attempt.limit(owner.clock, owner.checkTimeout, () => {
      isLate = true
      return new ConnectionLost('no answer')
    })
    const done = (heard: Heard): void =>
      leavePromise(() => {
        this.attempt = undefined
        if (this.isStopped) return
        this.plan()
        owner.onHeard(host, heard, begunAt)
      })
    this.look(attempt).then(
      (heard) => {
        if (!attempt.isOver) attempt.succeed()
        done(heard)
      },
      (error: unknown) => {
        attempt.giveUp(error as Error)
        this.use(undefined)
        // Other connections to it are alive, so it is, and only slow.
        if (isLate && this.wasHeard(bytes)) done({ ...host.heard, error: 'slow to answer' })
        else done(this.failure(error, isLate))
      },
    )
  }

  /** Returns whether anything was read from it on another connection since then. */
  private wasHeard(before: ReadonlyMap<object, number>): boolean {
    for (const [connection, bytes] of this.owner.bytesFrom(this.host)) {
      if (bytes > (before.get(connection) ?? 0)) return true
    }
    return false
  }

  /** When the next check begins. */
  private plan(): void {
    const { clock } = this.owner
    const period = this.isHurried ? shortestPeriod : this.owner.periodOf(this.host)
    this.timer?.cancel()
    this.timer = clock.after(Math.max(0, this.begunAt + period - clock.now()), () => this.check())
  }

  /** The period may have changed. */
  replan(): void {
    if (this.attempt === undefined && !this.isStopped) this.plan()
  }

  private failure(error: unknown, isLate: boolean): Heard {
    const failure = connectFailure(error)
    const sqlstate = failure.error?.sqlstate ?? (failure.reason === 'login_refused' ? '57P03' : undefined)
    if (isLate) return { state: 'down', report: undefined, error: `no answer within ${this.owner.checkTimeout} ms` }
    const said = failure.said === undefined ? failure.message : `${failure.message}: ${failure.said}`
    if (sqlstate === undefined) return { state: 'down', report: undefined, error: said }
    if (notServing.has(sqlstate)) return { state: 'starting', report: undefined, error: said }
    this.owner.onRefused(this.host)
    return { state: 'up', report: undefined, error: `probe refused: ${said}` }
  }

  /** Asks over the connection that is there; where that says nothing for half the time, over another as well. */
  private look(attempt: Attempt): Promise<Heard> {
    const { link, owner } = this
    const second = new Attempt()
    attempt.onGivenUp((reason) => second.giveUp(reason))
    if (link === undefined) return this.lookAnew(second)
    return new Promise((resolve, reject) => {
      let isAnew = false
      const anew = (): void => {
        if (isAnew || second.isOver) return
        isAnew = true
        timer.cancel()
        this.lookAnew(second).then(resolve, reject)
      }
      const timer = owner.clock.after(owner.checkTimeout / 2, anew)
      attempt.onGivenUp((reason) => {
        timer.cancel()
        reject(reason)
      })
      link.ask().then((heard) => {
        timer.cancel()
        second.giveUp(new ConnectionLost('not needed'))
        resolve(heard)
      }, anew)
    })
  }

  private async lookAnew(attempt: Attempt): Promise<Heard> {
    const opening = this.owner.open(this.host, attempt)
    if (opening === undefined) return { state: 'unknown', report: undefined, error: '' }
    const { reader } = await opening
    const { clock } = this.owner
    const openedAt = clock.now()
    const link = new Link(reader, () => {
      // Where connections do not last, it is not asked for each of them.
      if (this.link === link && clock.now() - openedAt >= this.owner.periodOf(this.host)) this.hurry()
    })
    attempt.onGivenUp(() => link.close()) // or the other connection was faster
    const heard = await attempt.wait(link.ask())
    attempt.succeed()
    this.use(link)
    return heard
  }
}

/** A connection that is logged in. */
class Link {
  private readonly reader: MessageReader
  private systemId: string | undefined

  /** @param onLost the host has ended it */
  constructor(reader: MessageReader, onLost: () => void) {
    this.reader = reader
    reader.onLost = onLost
    reader.socket.resume()
  }

  close(): void {
    this.reader.onLost = undefined
    this.reader.fail(new ConnectionLost('closed'))
    this.reader.socket.write(frontend.terminate())
    this.reader.socket.destroy()
  }

  /** All questions in one write. */
  async ask(): Promise<Heard> {
    const asksSystem = this.systemId === undefined
    const questions = [roleQuestion, positionQuestion, followedQuestion, ...(asksSystem ? [systemQuestion] : [])]
    this.reader.write(Buffer.concat(questions.map((text) => frontend.query(text))))
    const [role, position, followed] = [await this.answer(), await this.answer(), await this.answer()]
    const answers: Answers = { role, position, followed, system: asksSystem ? await this.answer() : undefined }
    const report = readReport(answers, this.systemId)
    this.systemId = report?.systemId
    const error = report === undefined ? (role.error?.message ?? 'no answer to be understood') : ''
    return { state: 'up', report, error }
  }

  private answer(): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const query = new OwnQuery((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)))
      const next = async (): Promise<void> => {
        for (;;) {
          const { code, body } = await this.reader.read()
          if (code === backend.ReadyForQuery) return query.finish(body[0] ?? backend.Idle)
          query.onMessage(code, body)
        }
      }
      next().catch(reject)
    })
  }
}
