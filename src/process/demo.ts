// `tsbouncer demo`: the embedded servers with our pooler in front, until Ctrl-C.

import { loadConfig } from '../config/load.js'
import { type DemoPooler, runDemo } from '../demo/demo.js'
import { DemoError } from '../demo/demo-error.js'
import { createLog, type Log } from '../observe/log.js'
import type { createPooler } from '../pooler.js'
import type { DemoCommand } from './cli.js'
import { startLoad } from './demo-load.js'
import { catchTheRest, stackOf } from './last-resort.js'

const interrupts = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** @returns exit code; why it is not 0 is on standard error */
export async function runDemoCommand(command: DemoCommand, create: typeof createPooler): Promise<number> {
  // Only what is wrong is shown among what the demo prints.
  const log = createLog({ stderr: 'problems' })
  const letGo = catchTheRest(log, process, (code) => process.exit(code))
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  for (const signal of interrupts) process.on(signal, interrupt)
  try {
    await runDemo({
      port: command.port,
      data: command.data,
      keep: command.keep,
      print: (line) => process.stdout.write(`${line}\n`),
      startPooler: (file) => startPooler(file, log, create),
      failover: command.failover ? startLoad : undefined,
      signal: interrupted.signal,
    })
    return 0
  } catch (error) {
    process.stderr.write(`tsbouncer demo: ${error instanceof DemoError ? error.message : stackOf(error)}\n`)
    return 1
  } finally {
    for (const signal of interrupts) process.off(signal, interrupt)
    letGo()
    log.close()
  }
}

async function startPooler(file: string, log: Log, create: typeof createPooler): Promise<DemoPooler> {
  const config = await loadConfig(file)
  log.reopen(config.settings)
  for (const warning of config.warnings) log.warning(warning)
  const pooler = create({ config, log })
  await pooler.listen()
  return { stop: () => pooler.close() }
}
