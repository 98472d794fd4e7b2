// What a micro-benchmark is: a group of cases, each a function that is called over and over.

export interface Case {
  readonly name: string
  /** How many operations one call of `run` does: many where one alone is too short for the clock. Default: 1. */
  readonly operations?: number
  /** Bytes that one operation deals with, where throughput is what counts. */
  readonly bytes?: number
  readonly run: () => unknown
  /** After the last call. */
  readonly close?: () => void
}

export interface Suite {
  readonly name: string
  readonly cases: () => readonly Case[] | Promise<readonly Case[]>
}

/** A case whose operation is so short that it is done a hundred times a call. */
export function short(name: string, operation: () => unknown): Case {
  const operations = 100
  return {
    name,
    operations,
    run() {
      for (let i = 0; i < operations; i++) operation()
    },
  }
}
