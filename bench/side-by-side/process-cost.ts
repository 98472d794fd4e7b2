// What a process has cost so far: processor time and memory, as Linux tells it in /proc.

import { readFileSync } from 'node:fs'

/** Microseconds. */
export interface CpuTime {
  readonly user: number
  readonly system: number
}

/** A tick of /proc/PID/stat, microseconds: USER_HZ is 100 on every Linux that Node runs on. */
const tick = 10_000

/** Of all its threads since it began; the sum is exact to a tick, how it is split is the kernel's estimate. */
export function cpuTime(pid: number): CpuTime {
  // The second field is the command in brackets, in which anything may stand: fields are counted from behind it.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { user: Number(fields[11]) * tick, system: Number(fields[12]) * tick }
}

export function cpuSince(pid: number, before: CpuTime): CpuTime {
  const now = cpuTime(pid)
  return { user: now.user - before.user, system: now.system - before.system }
}

/** Resident memory, bytes. */
export function residentMemory(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes ?? 0) * 1024
}
