// What something costs, and what eight times as much of it does: in CPU time, so that other processes do not count.

/** CPU time of this process, ms: what it costs, whatever else the machine is doing. */
export function cost(run: () => void): number {
  const before = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/**
 * How many times as long `run` takes for eight times the size: 8 where it is in proportion, 64 where it is quadratic. The least
 * of a few tries, since garbage collection and a busy machine only add to it.
 */
export function growth(run: (size: number) => void, size: number): number {
  run(size) // compiled
  let least = Number.POSITIVE_INFINITY
  for (let tries = 0; tries < 6 && least > 16; tries++) {
    const small = Math.min(
      cost(() => run(size)),
      cost(() => run(size)),
    )
    least = Math.min(least, cost(() => run(8 * size)) / Math.max(small, 1))
  }
  return least
}

/** Above it, what eight times as much costs is not in proportion. */
export const steepest = 28
