// A link whose packets are really dropped: its far end is a network namespace behind a router, and the router stops forwarding.

import { runProgram } from '../../src/demo/program.js'
import { Link } from './link.js'

let made = 0

/** Why this process cannot make such links here, in words; undefined where it can. */
export async function whyNotRouted(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.geteuid?.() !== 0) return 'network namespaces need root on Linux'
  try {
    await using _route = await Route.open()
    return undefined
  } catch (error) {
    return `no network namespaces: ${error instanceof Error ? error.message : error}`
  }
}

/** Two namespaces in a row: this one - the router's - the host's. */
class Route implements AsyncDisposable {
  /** The far end's. */
  readonly host: string
  readonly far: string
  readonly #router: string
  readonly #network: string
  readonly #device: string

  private constructor(number: number) {
    const name = `tsb${process.pid}n${number}`
    this.#router = `${name}r`
    this.far = `${name}h`
    this.#device = name
    this.#network = `10.231.${(process.pid * 8 + number) % 256}`
    this.host = `${this.#network}.6`
  }

  static async open(): Promise<Route> {
    const route = new Route(made++)
    try {
      await route.#make()
      return route
    } catch (error) {
      await route[Symbol.asyncDispose]()
      throw error
    }
  }

  async forward(on: boolean): Promise<void> {
    const text = `echo ${on ? 1 : 0} >/proc/sys/net/ipv4/ip_forward`
    await runProgram('ip', ['netns', 'exec', this.#router, 'sh', '-c', text])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The devices go with the namespaces.
    for (const name of [this.far, this.#router]) await runProgram('ip', ['netns', 'del', name]).catch(() => {})
  }

  async #make(): Promise<void> {
    const [net, device] = [this.#network, this.#device]
    const ip = (line: string): Promise<string> => runProgram('ip', line.split(' '))
    const inRouter = (line: string): Promise<string> => ip(`netns exec ${this.#router} ip ${line}`)
    const inFar = (line: string): Promise<string> => ip(`netns exec ${this.far} ip ${line}`)
    for (const name of [this.#router, this.far]) await ip(`netns add ${name}`)
    await ip(`link add ${device}a type veth peer name ${device}b`)
    await ip(`link set ${device}b netns ${this.#router}`)
    await inRouter(`link add ${device}c type veth peer name ${device}d`)
    await inRouter(`link set ${device}d netns ${this.far}`)
    await ip(`addr add ${net}.1/30 dev ${device}a`)
    await inRouter(`addr add ${net}.2/30 dev ${device}b`)
    await inRouter(`addr add ${net}.5/30 dev ${device}c`)
    await inFar(`addr add ${net}.6/30 dev ${device}d`)
    await ip(`link set ${device}a up`)
    for (const end of ['b', 'c']) await inRouter(`link set ${device}${end} up`)
    await inFar(`link set ${device}d up`)
    await inFar(`route add default via ${net}.5`)
    await ip(`route add ${net}.4/30 via ${net}.2`)
    await this.forward(true)
  }
}

export class RoutedLink extends Link {
  readonly #route: Route

  private constructor(route: Route, port: number, path: string) {
    super({ host: route.host, port }, { path }, ['ip', 'netns', 'exec', route.far])
    this.#route = route
  }

  /** @param path of the host's Unix socket, which a namespace of the network does not hide */
  static async open(port: number, path: string): Promise<RoutedLink> {
    const link = new RoutedLink(await Route.open(), port, path)
    await link.command('listen')
    return link
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]()
    await this.#route[Symbol.asyncDispose]()
  }

  protected silence(): Promise<void> {
    return this.#route.forward(false)
  }

  protected resume(): Promise<void> {
    return this.#route.forward(true)
  }
}
