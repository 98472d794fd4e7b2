// One client after the other, each on a connection of its own, from login to whatever end.

import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { postgres } from '../harness/postgres.js'
import type { Random } from '../harness/random.js'
import { cancel, Ended, RawClient, startup, terminate } from '../harness/raw-client.js'
import { Author } from './author.js'
import type { Exchange } from './exchange.js'
import { randomParameters } from './kinds/parameters.js'
import { sleeping } from './kinds/reads.js'
import { isAlike } from './likeness.js'
import { fail, type Scene } from './scene.js'
import { storyOf } from './story.js'
import { settling, Twin } from './twin.js'

const users = ['trust_user', 'scram_user', 'md5_user']
/** Whom PostgreSQL trusts: a twin logs in without a password. */
const twinUser = 'trust_user'

/** How long one batch of exchanges may take, ms: far more than it does. */
const patience = 40_000

const canceled = 'E ERROR 57014 canceling statement due to user request'
const losses = [
  'E FATAL 57P01 terminating connection due to administrator command',
  'E FATAL 08P01 server conn crashed?',
  'E FATAL 08P01 database configuration changed', // by server_fast_close
]
/** Whether a Flush with a body was read within a COPY that failed can't be found out: the server is given up, and its client told. */
const unknowable = /^(?:odd bodies|anything)/
/** What is no part of a COPY, within one: PostgreSQL before 14 says this and goes on, later ones and the pooler end the connection. */
const isMisplaced = (line: string): boolean => /^E ERROR 08P01 unexpected message type 0x\w\w during COPY/.test(line)
const isRefusal = (line: string): boolean =>
  line === 'E FATAL 08P01 terminating connection because protocol synchronization was lost'
/** So says the pooler in front of PostgreSQL before 14, which takes messages of any length. */
const isTooLong = (line: string): boolean => line === 'E FATAL 08P01 invalid message length' && postgres().version < 14
/** What `session_state = warn` has to say, and PostgreSQL has not. */
const isWarning = (line: string): boolean => line.startsWith('N ') && line.endsWith('(session_state = warn)')
const isLoss = (line: string): boolean => losses.includes(line)

const forgotten = /^E ERROR 26000 prepared statement "[nq]\d" does not exist$/

export class Customer {
  /** What it did last, the latest at the end. */
  readonly #done: string[] = []
  readonly #scene: Scene
  readonly #number: number
  readonly #random: Random

  constructor(scene: Scene, number: number, random: Random) {
    this.#scene = scene
    this.#number = number
    this.#random = random
  }

  async run(): Promise<void> {
    for (let life = 0; !this.#scene.isOver; life++) {
      try {
        await this.#live(`c${this.#number}.${life}`)
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        fail(this.#scene, new Error(`${reason}\nlast, with the latest at the end:\n${this.#story()}`, { cause: error }))
      }
    }
  }

  #story(): string {
    return this.#done.slice(-12).join('\n')
  }

  #note(what: string): void {
    this.#done.push(what)
    if (this.#done.length > 100) this.#done.splice(0, 50)
  }

  /** From login to the end of the connection. */
  async #live(id: string): Promise<void> {
    const { pooler, stage, round, figures } = this.#scene
    const random = this.#random.fork()
    const hasTwin = random.chance(round.twins)
    const user = hasTwin ? twinUser : random.pick(users)
    const asked = randomParameters(random)
    const kinds = round.kinds.filter(({ name, isAsked, modes }) => {
      return (
        !round.known.has(name) && (hasTwin || isAsked !== true) && (modes === undefined || modes.includes(round.mode))
      )
    })
    const author = new Author(id, user, round.mode, random, kinds, asked)
    this.#note(`${id} logs in: ${JSON.stringify(asked)}`)
    if (random.chance(0.03)) return this.#vanishAtDoor({ ...asked, user, database: stage.database }, random)
    await using twin = hasTwin ? await Twin.open({ ...asked, user, database: stage.twins }) : undefined
    // Some are in this very process.
    await using client = random.chance(0.15)
      ? new RawClient(pooler.pooler.connect())
      : await RawClient.open(pooler.port)
    await this.#inTime(client, client.logIn({ parameters: { ...asked, user, database: stage.database } }))
    figures.count('logins')
    if (twin !== undefined && !round.known.has('reports at login')) this.#compareReports(client, twin)
    const lifetime = round.mode === 'session' ? random.between(1, 4) : random.between(1, 40)
    for (let batch = 0; batch < lifetime && !this.#scene.isOver; batch++) {
      const exchanges: Exchange[] = []
      const first = batch === 0 && random.chance(0.5) ? author.first() : undefined
      for (const exchange of first === undefined ? author.exchanges(random.pick([1, 1, 1, 2, 3, 6])) : [first]) {
        exchanges.push(exchange)
        if (isAlone(exchange)) break
      }
      this.#note(exchanges.map((exchange) => exchange.name).join(', '))
      if (random.chance(batch === 0 ? 0.06 : 0.02)) return this.#vanishAmid(client, exchanges, random)
      if (!isAlone(exchanges.at(-1)!) && random.chance(0.05)) exchanges.push(sleeping(author, random.below(80) / 1000))
      const serving =
        exchanges.at(-1)!.name === 'sleep'
          ? this.#cancelled(client, twin, exchanges, random)
          : this.#served(client, twin, exchanges, random)
      if (!(await this.#inTime(client, serving))) return
      if (random.chance(0.3)) await sleep(random.below(5))
    }
    figures.count('lives to the end')
    if (random.chance(0.3)) client.vanish()
    else await client.end()
  }

  /** What it does, or an error that says where it hangs. */
  async #inTime<T>(client: RawClient, work: Promise<T>): Promise<T> {
    const timer = new AbortController()
    const late = sleep(patience, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`no answer for ${patience / 1000} s; heard and not expected yet: ${client.unread.join()}`)
    })
    late.catch(() => {})
    try {
      return await Promise.race([work, late])
    } finally {
      timer.abort()
      work.catch(() => {}) // told already
    }
  }

  /** A client is told of its session what PostgreSQL tells of one of its own. */
  #compareReports(client: RawClient, twin: Twin): void {
    const own = new Map([...client.reported].filter(([name]) => !name.startsWith('pgbouncer.')))
    const real = twin.client.reported
    const names = [...new Set([...own.keys(), ...real.keys()])].filter((name) => own.get(name) !== real.get(name))
    if (names.length === 0) return
    const told = names.map((name) => `${name}: ${own.get(name)} in place of ${real.get(name)}`)
    throw new Error(`reported at login: ${told.join(', ')}`)
  }

  /** Sends exchanges and compares all that is heard. False: the connection is over, as may be. */
  async #served(
    client: RawClient,
    twin: Twin | undefined,
    exchanges: readonly Exchange[],
    random: Random,
  ): Promise<boolean> {
    const waits = exchanges.at(-1)!.hesitates !== undefined && exchanges.length > 1
    if (waits && !(await this.#served(client, twin, exchanges.slice(0, -1), random))) return false
    const expected: Exchange[] = []
    for (const exchange of waits ? exchanges.slice(-1) : exchanges) {
      if (expected.at(-1)?.isOver === true) break
      expected.push(twin === undefined ? exchange : await this.#asked(twin, exchange))
    }
    const heard = this.#hear(client, expected)
    await Promise.all([heard, this.#say(client, expected, random)])
    const last = expected.at(-1)!
    return (await heard) && last.isLast !== true && last.leaves !== true
  }

  async #say(client: RawClient, exchanges: readonly Exchange[], random: Random): Promise<void> {
    const { hesitates, isCancelled, ending } = exchanges.at(-1)!
    const pieces = exchanges.flatMap((exchange) => exchange.pieces ?? exchange.bytes)
    const held = hesitates === undefined ? [] : pieces.splice(-1)
    if (random.chance(0.3)) await this.#sendSlowly(client, pieces, random)
    else await this.#send(client, Buffer.concat(pieces), random)
    if (hesitates !== undefined) {
      await sleep(hesitates)
      if (isCancelled) await cancel(this.#scene.pooler.port, client.key)
      client.send(...held)
    }
    if (ending === 'terminate') client.send(terminate)
    else if (ending === 'fin') client.stream.end()
  }

  /** With the lines that PostgreSQL answers. */
  async #asked(twin: Twin, exchange: Exchange): Promise<Exchange> {
    if (exchange.judge !== undefined || exchange.ending !== undefined) return exchange
    const { lines, bodies, isSettled, isOver } = await twin.play(exchange)
    if (exchange.lines !== undefined && !isDeepStrictEqual(lines, [...exchange.lines]))
      throw new Error(
        `${exchange.name}: the stress expects\n${exchange.lines.join('\n')}\nbut PostgreSQL says\n${lines.join('\n')}`,
      )
    if (isSettled || isOver) return { ...exchange, lines, bodies, isOver }
    const pieces = [...(exchange.pieces ?? [exchange.bytes]), settling]
    return { ...exchange, bytes: Buffer.concat(pieces), pieces, lines, bodies }
  }

  async #hear(client: RawClient, exchanges: readonly Exchange[]): Promise<boolean> {
    const { ledger, round, figures } = this.#scene
    for (const { written = [] } of exchanges) for (const token of written) ledger.uncertain.add(token)
    const before: string[] = []
    // PostgreSQL closes with bytes unread: what it had said before may be lost on its way, as it may be without a pooler.
    const mayEnd = exchanges.some(({ isOver }) => isOver)
    const mayLose = mayEnd || round.isRough || exchanges.some(({ name }) => unknowable.test(name))
    for (const exchange of exchanges) {
      if (exchange.isOver) return this.#endsLikeTwin(client, exchange, exchanges)
      const { lines = [], bodies, judge, until, written = [], name, isLast } = exchange
      const heard: string[] = []
      for (let at = 0; until === undefined ? at < lines.length : at === 0 || !until(heard); at++) {
        const line = await client.line().catch((error: unknown) => {
          if (mayEnd && error instanceof Ended) return undefined
          throw this.#wrong(exchange, exchanges, [...heard, error instanceof Ended ? error.message : String(error)])
        })
        if (line === undefined) return false
        if (isWarning(line)) {
          at--
          continue
        }
        heard.push(line)
        const body = bodies?.[at]
        if (body !== undefined && line === lines[at] && !isAlike(line[0]!, body, client.latestBody))
          throw new Error(
            `${name}: in place of ${body.toString('latin1')}\nheard ${client.latestBody.toString('latin1')}`,
          )
        if (judge !== undefined ? !(mayLose && isLoss(line)) : line === lines[at]) continue
        if (mayLose && isLoss(line)) return this.#lost(client)
        if (isMisplaced(line) && isMisplaced(lines[at] ?? '')) continue
        if ((isRefusal(line) || isLoss(line)) && isMisplaced(heard.at(-2) ?? '')) return this.#lost(client)
        if (name === 'too long' && isTooLong(line)) return this.#lost(client)
        if (!this.#isForgotten(line)) throw this.#wrong(exchange, exchanges, [...before, `${name}:`, ...heard])
        figures.count('statements that others had the server forget')
        while (!(await client.line()).startsWith('Z '));
        break
      }
      const complaint = judge?.(heard)
      if (complaint !== undefined) throw new Error(`${name}: ${complaint}\nheard\n${heard.map(short).join('\n')}`)
      if (isLast) {
        const rest = await client.toTheEnd()
        if (!rest.every((line) => mayLose && isLoss(line))) throw new Error(`${name}: heard more: ${rest.join()}`)
      }
      before.push(...heard)
      figures.count('exchanges')
      figures.count(`kind ${name.replace(/ [a-z]\w*\d$/, '')}`)
      for (const token of written) {
        ledger.uncertain.delete(token)
        ledger.written.add(token)
      }
    }
    if (client.unread.length > 0 && !isLoss(client.unread[0]!)) throw new Error(`heard more: ${client.unread.join()}`)
    return true
  }

  /**
   * A statement that another client has had its server forget, unseen: the pooler learns of it by this error, and runs again what
   * stands alone; what was sent behind other exchanges, it cannot.
   */
  #isForgotten(line: string): boolean {
    return this.#scene.figures.of('kind forgets unseen') > 0 && forgotten.test(line)
  }

  #wrong({ name, lines = [] }: Exchange, sent: readonly Exchange[], heard: readonly string[]): Error {
    const list = (all: readonly string[]): string => all.map(short).join('\n')
    const story = sent.map((one) => `${one.name}: ${storyOf(one.bytes)}`)
    return new Error(`${name}: expected\n${list(lines)}\nbut heard\n${list(heard)}\nsent\n${list(story)}`)
  }

  /**
   * PostgreSQL has closed the connection. What either side said last may be lost, where it closed with bytes unread: all that both
   * have heard is the same, but for errors at the end.
   */
  async #endsLikeTwin(client: RawClient, exchange: Exchange, sent: readonly Exchange[]): Promise<false> {
    const heard = await client.toTheEnd()
    const [own, real] = [withoutErrors(heard), withoutErrors(exchange.lines ?? [])]
    const common = Math.min(own.length, real.length)
    if (!isDeepStrictEqual(own.slice(0, common), real.slice(0, common))) throw this.#wrong(exchange, sent, heard)
    this.#scene.figures.count('connections that PostgreSQL closed')
    return false
  }

  /** Nothing but the loss may be told from then on. */
  async #lost(client: RawClient): Promise<false> {
    this.#scene.figures.count('lost servers')
    const rest = await client.toTheEnd()
    if (!rest.every(isLoss)) throw new Error(`heard after the loss of the server: ${rest.join()}`)
    return false
  }

  /** The last exchange is a sleep, which ends with its rows or as cancelled; what comes next is not hit. */
  async #cancelled(
    client: RawClient,
    twin: Twin | undefined,
    exchanges: readonly Exchange[],
    random: Random,
  ): Promise<boolean> {
    const { pooler, round, figures } = this.#scene
    const { bytes, lines = [] } = exchanges.at(-1)!
    if (exchanges.length > 1 && !(await this.#served(client, twin, exchanges.slice(0, -1), random))) return false
    client.send(bytes)
    const cancels = (async () => {
      await sleep(random.below(60))
      await cancel(pooler.port, client.key)
      figures.count('cancels')
    })()
    let isServed = true
    for (let at = 0; at < lines.length && isServed; at++) {
      const heard = await client.line()
      if (heard === canceled)
        at = lines.length - 2 // ReadyForQuery is to come
      else if (round.isRough && isLoss(heard)) isServed = await this.#lost(client)
      else if (heard !== lines[at]) throw new Error(`sleep: expected\n${lines[at]}\nbut heard\n${heard}`)
    }
    await cancels
    return isServed
  }

  /** In one piece, or cut anywhere with pauses, as networks do. */
  async #send(client: RawClient, bytes: Buffer, random: Random): Promise<void> {
    const cuts = random.chance(0.5)
      ? []
      : Array.from({ length: random.between(1, 4) }, () => random.below(bytes.length))
    const isSlow = random.chance(0.05)
    if (isSlow) client.stream.pause()
    let from = 0
    for (const cut of cuts.sort((one, other) => one - other)) {
      client.send(bytes.subarray(from, cut))
      from = cut
      for (let turns = random.below(4); turns > 0; turns--) await turn()
    }
    client.send(bytes.subarray(from))
    if (isSlow) {
      await sleep(random.below(20))
      client.stream.resume()
    }
  }

  /** Message by message, with time for answers between them. */
  async #sendSlowly(client: RawClient, pieces: readonly Buffer[], random: Random): Promise<void> {
    for (const piece of pieces) {
      client.send(piece)
      if (random.chance(0.5)) await sleep(random.below(6))
    }
  }

  /** Gone in the midst of its startup packet, or before it is welcomed. */
  async #vanishAtDoor(parameters: Readonly<Record<string, string>>, random: Random): Promise<void> {
    await using client = await RawClient.open(this.#scene.pooler.port)
    const bytes = startup(parameters)
    client.send(bytes.subarray(0, random.chance(0.5) ? bytes.length : random.below(bytes.length)))
    if (random.chance(0.5)) await sleep(random.below(4))
    if (random.chance(0.5)) client.vanish()
    this.#scene.figures.count('vanished at the door')
  }

  /** Gone at any byte, with whatever is under way. */
  async #vanishAmid(client: RawClient, exchanges: readonly Exchange[], random: Random): Promise<void> {
    const bytes = Buffer.concat(exchanges.map((exchange) => exchange.bytes))
    const { ledger, figures } = this.#scene
    for (const { written = [] } of exchanges) for (const token of written) ledger.uncertain.add(token)
    this.#note('leaves')
    await this.#send(client, bytes.subarray(0, random.between(1, bytes.length)), random)
    if (random.chance(0.5)) await sleep(random.below(10))
    if (random.chance(0.5)) client.vanish()
    else client.stream.end()
    figures.count('vanished')
    await client.ended
  }
}

/** Up to the errors that it ends with. */
function withoutErrors(lines: readonly string[]): readonly string[] {
  return lines.slice(0, lines.findLastIndex((line) => !line.startsWith('E ')) + 1)
}

/** Is nothing to be said behind it before its answer has come? */
const isAlone = ({ hesitates, isLast, leaves }: Exchange): boolean =>
  hesitates !== undefined || isLast === true || leaves === true
const short = (line: string): string => (line.length > 1000 ? `${line.slice(0, 1000)}...` : line)
