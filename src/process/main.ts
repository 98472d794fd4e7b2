#!/usr/bin/env node
// The command: tsbouncer, alias pgbouncer.

import { basename } from 'node:path'
import { type Command, parseCommandLine } from './cli.js'

const program = basename(process.argv[1] ?? '') === 'pgbouncer' ? 'pgbouncer' : 'tsbouncer'
process.exit(await run(await parseCommandLine(process.argv.slice(2), program)))

/** Loads only what the command needs: --version and -d answer at once. Returns the exit code. */
async function run(command: Command): Promise<number> {
  switch (command.name) {
    case 'say': {
      const output = command.exitCode === 0 ? process.stdout : process.stderr
      output.write(`${command.text}\n`)
      return command.exitCode
    }
    case 'demo': {
      const { runDemoCommand } = await import('./demo.js')
      const { createPooler } = await import('../pooler.js')
      return runDemoCommand(command, createPooler)
    }
    case 'ping': {
      const { ping } = await import('./ping.js')
      return ping(command.file)
    }
    case 'docker-entrypoint': {
      const { enterContainer } = await import('./docker-entrypoint.js')
      const next = await enterContainer(command)
      return typeof next === 'number' ? next : run(await parseCommandLine(next, program))
    }
    case 'serve': {
      const { startInBackground, takeBackgroundMark } = await import('./background.js')
      if (command.daemon && !takeBackgroundMark(process.env)) return startInBackground()
      // For pgrep -x and killall: the kernel's name for the process is the first word of this, and no more may stand there.
      process.title = program
      const { runDaemon } = await import('./daemon.js')
      const { createPooler } = await import('../pooler.js')
      return runDaemon(command, createPooler)
    }
  }
}
