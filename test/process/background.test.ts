import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test, vi } from 'vitest'
import { makeFolder, Running, root } from './command.js'

const module = pathToFileURL(join(root, 'dist', 'process', 'background.js')).href

/** A command that runs `body` in the background; `reportReady` and `folder` are there for it. */
function inBackground(folder: string, body: string): Running {
  const script = join(folder, 'command.mjs')
  writeFileSync(
    script,
    `import { readFileSync, writeFileSync, writeSync } from 'node:fs'
     import { reportReady, startInBackground, takeBackgroundMark } from '${module}'
     const folder = ${JSON.stringify(folder)}
     if (!takeBackgroundMark(process.env)) process.exit(await startInBackground())
     ${body}`,
  )
  return new Running(spawn(process.execPath, [script, 'one', 'two']))
}

test('who started it comes back with 0 when it is ready, and it goes on', async () => {
  using folder = makeFolder()
  const running = inBackground(
    folder.path,
    `writeSync(2, 'a warning\\n')
     reportReady()
     writeSync(1, 'to nobody')
     const [pid, , , , , session] = readFileSync('/proc/self/stat', 'utf8').split(' ').map(Number)
     const marks = Object.keys(process.env).filter((name) => name.startsWith('TSBOUNCER'))
     writeFileSync(folder + '/facts', JSON.stringify({ words: process.argv.slice(2), marks, pid, session }))`,
  )
  expect(await running.ended).toBe(0)
  expect(running.stderr).toBe('a warning\n')
  const facts = await vi.waitFor(() => JSON.parse(readFileSync(join(folder.path, 'facts'), 'utf8')), 30_000)
  expect(facts).toEqual({ words: ['one', 'two'], marks: [], pid: facts.pid, session: facts.pid })
  expect(facts.pid).not.toBe(running.child.pid)
})

test('what it says before it ends, and its exit code, are those of the command', async () => {
  using folder = makeFolder()
  const running = inBackground(folder.path, `writeSync(2, 'FATAL port in use\\n'); process.exit(3)`)
  expect(await running.ended).toBe(3)
  expect(running.stderr).toBe('FATAL port in use\n')
})

test('an end by a signal is a failure', async () => {
  using folder = makeFolder()
  const running = inBackground(folder.path, `process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)`)
  expect(await running.ended).toBe(1)
})

test('once ready, writing to where nobody reads any more does not end it', async () => {
  using folder = makeFolder()
  const running = inBackground(
    folder.path,
    `reportReady()
     const poll = setInterval(() => {
       try { return writeSync(2, 'x') } catch (error) { writeFileSync(folder + '/error', error.code) }
       clearInterval(poll)
       console.error('x')
       setTimeout(() => writeFileSync(folder + '/alive', ''), 20)
     }, 10)`,
  )
  expect(await running.ended).toBe(0)
  await vi.waitFor(() => readFileSync(join(folder.path, 'alive')), { timeout: 20_000 })
  expect(readFileSync(join(folder.path, 'error'), 'utf8')).toBe('EPIPE')
})
