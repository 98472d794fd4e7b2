// Which versions of Node.js are tested with which of PostgreSQL.

import { nodes, servers } from './programs.js'

export interface Cell {
  readonly node: number
  readonly postgres: number
}

export interface Wanted {
  /** With commas. */
  readonly node?: string | undefined
  readonly postgres?: string | undefined
  readonly all: boolean
  /** `2/3` */
  readonly part: string
}

/** Empty where what was asked for makes no sense. */
export function cellsOf(given: Wanted): Cell[] {
  const [oldest, newest] = [nodes[0], servers.at(-1)!]
  const own = nodes.find((major) => process.versions.node.startsWith(`${major}.`)) ?? oldest
  const listOf = (text: string): number[] => text.split(',').map(Number)
  const each = (some: readonly number[], others: readonly number[]): Cell[] =>
    some.flatMap((node) => others.map((postgres) => ({ node, postgres })))
  const cells =
    given.all || given.node !== undefined || given.postgres !== undefined
      ? each(
          given.node === undefined ? (given.all ? nodes : [own]) : listOf(given.node),
          given.postgres === undefined ? (given.all ? servers : [newest]) : listOf(given.postgres),
        )
      : [...each(nodes, [newest]), ...each([oldest], servers.slice(0, -1))]
  const isKnown = ({ node, postgres }: Cell): boolean =>
    nodes.some((major) => major === node) && servers.includes(postgres)
  const [part = 0, parts = 0] = given.part.split('/').map(Number)
  if (!cells.every(isKnown) || !(part >= 1 && part <= parts)) return []
  return cells.filter((_, index) => index % parts === part - 1)
}
