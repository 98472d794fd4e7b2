// The figures of all rounds as tables: medians, and ratios taken within each round.

import { textTable } from '../text-table.js'
import type { IdleCost } from './idle.js'
import type { Outcome } from './pgbench.js'

const tps = (outcome: Outcome): number => outcome.tps
const cpu = (outcome: Outcome): number | undefined => outcome.cpu && outcome.cpu.user + outcome.cpu.system

/** @param rounds what each target, by name, made of each round */
export function scenarioTable(names: readonly string[], rounds: readonly ReadonlyMap<string, Outcome>[]): string {
  const pgbouncer = names.find((name) => name.startsWith('pgbouncer'))
  const outcomesOf = (name: string): Outcome[] => rounds.flatMap((round) => round.get(name) ?? [])
  const figure = (name: string, value: (outcome: Outcome) => number | undefined, digits: number): string => {
    const values = outcomesOf(name).flatMap((outcome) => value(outcome) ?? [])
    return values.length === 0 ? '' : median(values).toFixed(digits)
  }
  const ratio = (name: string, base: string | undefined, value: (outcome: Outcome) => number | undefined): string => {
    const values = rounds.flatMap((round) => {
      const [own, other] = [round.get(name), round.get(base ?? '')].map((outcome) => outcome && value(outcome))
      return own === undefined || other === undefined ? [] : own / other
    })
    return values.length === 0 ? '' : median(values).toFixed(2)
  }
  const head = ['', 'tps', '/ direct', '/ pgbouncer', 'CPU µs/tx', '/ pgbouncer', 'user', 'system', 'memory MB']
  const rows = names.map((name) => [
    name,
    figure(name, tps, 0),
    ratio(name, 'direct', tps),
    ratio(name, pgbouncer, tps),
    figure(name, cpu, 1),
    ratio(name, pgbouncer, cpu),
    figure(name, ({ cpu }) => cpu?.user, 1),
    figure(name, ({ cpu }) => cpu?.system, 1),
    figure(name, ({ memory }) => memory && memory / 1e6, 0),
  ])
  return textTable(head, rows)
}

export function idleTable(costs: readonly (readonly [name: string, cost: IdleCost | undefined])[]): string {
  const rows = costs.flatMap(([name, cost]) =>
    cost === undefined ? [] : [[name, cost.cpu.toFixed(0), (cost.memory / 1000).toFixed(1)]],
  )
  return textTable(['', 'CPU ms in all', 'memory kB/client'], rows)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2
}
