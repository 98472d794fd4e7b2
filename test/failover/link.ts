// The way to a host: a forwarder in a process of its own, on a fixed port, that can fall silent or refuse. It is stopped to
// fall silent, and its queue of connections is filled up: then the kernel drops what comes, as a network that is cut does.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface, type Interface } from 'node:readline'
import type { Address } from '../harness/cluster.js'

/** Where a link leads: a port, or the path of a Unix socket. */
export type Target = Address | { readonly path: string }

/** How many connections the kernel keeps for a forwarder that does not accept: this many, and one. */
const backlog = 1

/**
 * The forwarder, run by a Node.js of its own as text: it may name nothing outside itself. Its commands are lines of standard
 * input, each answered by the same line once it is done; the end of the input is its own.
 */
function forward(): void {
  const { createServer, connect } = process.getBuiltinModule('node:net')
  const { createInterface } = process.getBuiltinModule('node:readline')
  const { at, to, backlog } = JSON.parse(process.argv[1]!) as { at: Address; to: Target; backlog: number }
  const near = new Set<Socket>()
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const far = connect('path' in to ? { ...to, allowHalfOpen: true } : { ...to, noDelay: true, allowHalfOpen: true })
    near.add(client)
    client.on('error', () => far.destroy())
    far.on('error', () => client.resetAndDestroy())
    client.on('close', () => {
      near.delete(client)
      far.destroy()
    })
    far.on('close', () => client.destroy())
    client.pipe(far)
    far.pipe(client)
  })
  const commands: Record<string, (done: () => void) => void> = {
    listen: (done) => server.listen({ ...at, backlog, exclusive: true }, done),
    refuse: (done) => {
      server.close()
      for (const client of near) client.resetAndDestroy()
      done()
    },
  }
  createInterface(process.stdin)
    .on('line', (line) => commands[line]?.(() => console.log(line)))
    .on('close', () => process.exit())
}

/** A link that is open: what it does to fall silent is its kind's own. */
export abstract class Link implements AsyncDisposable {
  readonly address: Address
  readonly #child: ChildProcess
  readonly #answers: Interface
  #state: 'open' | 'cut' | 'refused' = 'open'

  /** @param before what the Node.js at the far end is started with */
  protected constructor(address: Address, to: Target, before: readonly string[] = []) {
    this.address = address
    const plan = JSON.stringify({ at: address, to, backlog })
    const [program, ...args] = [...before, process.execPath, '-e', `(${forward.toString()})()`, plan]
    this.#child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#answers = createInterface(this.#child.stdout!)
  }

  /** Packets are dropped in both directions: nothing is told to anyone. */
  async cut(): Promise<void> {
    if (this.#state === 'refused') await this.restore()
    if (this.#state === 'open') await this.silence()
    this.#state = 'cut'
  }

  /** Connections are reset, and new ones refused. */
  async refuse(): Promise<void> {
    if (this.#state === 'cut') await this.restore()
    if (this.#state === 'open') await this.command('refuse')
    this.#state = 'refused'
  }

  /** What was silent goes on where it was. */
  async restore(): Promise<void> {
    if (this.#state === 'cut') await this.resume()
    if (this.#state === 'refused') await this.command('listen')
    this.#state = 'open'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }

  protected abstract silence(): Promise<void>
  protected abstract resume(): Promise<void>

  protected async command(name: 'listen' | 'refuse'): Promise<void> {
    const over = new AbortController() // after an answer no listener is left
    const answered = once(this.#answers, 'line', over)
    const ended = once(this.#child, 'exit', over).then(() =>
      Promise.reject(new Error('the forwarder of a link has ended')),
    )
    this.#child.stdin!.write(`${name}\n`)
    await Promise.race([answered, ended]).finally(() => over.abort())
  }

  protected signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name)
  }
}

/** On this machine's loopback, wherever the tests run. */
export class LoopbackLink extends Link {
  #fillers: Socket[] = []

  private constructor(address: Address, to: Address) {
    super(address, to)
  }

  static async open(address: Address, to: Address): Promise<LoopbackLink> {
    const link = new LoopbackLink(address, to)
    await link.command('listen')
    return link
  }

  protected async silence(): Promise<void> {
    this.signal('SIGSTOP')
    // More than there is room for: those that find none stay unanswered, like everybody after them.
    this.#fillers = Array.from({ length: backlog + 2 }, () => connect(this.address).on('error', () => {}))
    await Promise.all(this.#fillers.slice(0, backlog + 1).map((filler) => once(filler, 'connect')))
  }

  protected async resume(): Promise<void> {
    for (const filler of this.#fillers.splice(0)) filler.destroy()
    this.signal('SIGCONT')
  }
}
