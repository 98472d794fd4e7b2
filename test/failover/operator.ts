// Who moves hosts at random: a step at a time, each as something of that kind happens, and back to where a step is possible.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../harness/random.js'
import type { FailoverCluster } from './cluster.js'
import type { Host } from './host.js'

interface Step {
  readonly name: string
  /** How often, relative to the others. */
  readonly weight: number
  run(operator: Operator): Promise<void>
}

/** Time for somebody to notice, ms. */
const notice = [100, 2500] as const

/** What happens; each begins with all hosts well, and leaves them as it likes. */
const steps: readonly Step[] = [
  {
    name: 'planned switchover',
    weight: 2,
    async run({ cluster }) {
      const old = cluster.primary
      await old.stop('fast')
      await cluster.promote()
      await old.startAsStandby(cluster.primary)
    },
  },
  {
    name: 'crash and promotion',
    weight: 3,
    async run(operator) {
      await operator.cluster.primary.kill()
      await operator.pause()
      await operator.cluster.promote()
    },
  },
  {
    name: 'crash, promotion, and the old one by hand',
    weight: 2,
    async run(operator) {
      const old = operator.cluster.primary
      await old.kill()
      await operator.cluster.promote()
      await operator.pause()
      await old.start()
    },
  },
  {
    name: 'primary cut off, promotion, link back',
    weight: 3,
    async run(operator) {
      const { link } = operator.cluster.primary
      await link.cut()
      await operator.pause()
      await operator.cluster.promote()
      await operator.pause()
      await link.restore()
    },
  },
  {
    name: 'primary frozen, promotion, thawed',
    weight: 2,
    async run(operator) {
      const old = operator.cluster.primary
      await old.freeze()
      await operator.pause()
      await operator.cluster.promote()
      await operator.pause()
      await old.thaw()
    },
  },
  {
    name: 'promotion beside a primary that lives',
    weight: 1,
    run: async ({ cluster }) => void (await cluster.promote()),
  },
  {
    name: 'primary cut off for a while',
    weight: 2,
    run: (operator) => operator.cutForAWhile(operator.cluster.primary),
  },
  { name: 'standby cut off for a while', weight: 1, run: (operator) => operator.cutForAWhile(operator.standby()) },
  {
    name: 'primary refuses for a while',
    weight: 2,
    async run(operator) {
      const { link } = operator.cluster.primary
      await link.refuse()
      await operator.pause()
      await link.restore()
    },
  },
  {
    name: 'primary crashes and comes back',
    weight: 2,
    async run(operator) {
      await operator.cluster.primary.kill()
      await operator.pause()
      await operator.cluster.primary.start()
    },
  },
  { name: 'standby crashes', weight: 2, run: (operator) => operator.standby().kill() },
  {
    name: 'standby late for a while',
    weight: 1,
    async run(operator) {
      const late = operator.standby()
      await late.pauseReplay()
      await operator.pause()
      await operator.pause()
      await late.resumeReplay()
    },
  },
  {
    name: 'all crash and come back',
    weight: 1,
    async run(operator) {
      const { cluster } = operator
      for (const host of operator.shuffled()) await host.kill()
      await operator.pause()
      for (const host of operator.shuffled()) await host.start()
      await cluster.untilWritable()
    },
  },
]

export class Operator {
  readonly cluster: FailoverCluster
  readonly #random: Random

  constructor(cluster: FailoverCluster, random: Random) {
    this.cluster = cluster
    this.#random = random
  }

  /** One step, and all is well again some time after it; the name of the step. */
  async act(told: (name: string) => void): Promise<void> {
    const step = this.#random.pick(steps.flatMap((one) => Array.from({ length: one.weight }, () => one)))
    told(step.name)
    await step.run(this)
    await this.pause()
    await this.cluster.settle()
    await this.pause()
  }

  pause(): Promise<void> {
    return sleep(this.#random.between(...notice))
  }

  standby(): Host {
    return this.#random.pick(this.cluster.standbys)
  }

  shuffled(): Host[] {
    const keys = new Map(this.cluster.hosts.map((host) => [host, this.#random.next()]))
    return this.cluster.hosts.toSorted((a, b) => keys.get(a)! - keys.get(b)!)
  }

  async cutForAWhile({ link }: Host): Promise<void> {
    await link.cut()
    await this.pause()
    await link.restore()
  }
}
