// How a pooler comes up and goes down.

import { connect } from 'node:net'
import { eventually } from '../../harness/pooler.js'
import { query } from '../../harness/raw-client.js'
import type { RunningProgram } from '../program.js'
import type { Answers, Scene } from '../scene.js'

/** Somebody listens: what is wanted not to be so. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

async function ending(pooler: RunningProgram, answers: Answers): Promise<Answers> {
  answers['exit code'] = String(await pooler.running.ended)
  answers.log = pooler.running
    .lines()
    .map((line) => pooler.neutral(line))
    .filter((line) => /^LOG (got|server conn|client conn)/.test(line))
  return answers
}

export const signalScenes: readonly Scene[] = [
  {
    name: 'startup lines',
    async play(pooler) {
      return { log: (await pooler.newLog()).map((line) => line.replace(/\d+/g, '9')) }
    },
  },
  {
    name: 'SIGQUIT',
    since: '1.23',
    async play(pooler) {
      await using _client = await pooler.connect()
      pooler.running.kill('SIGQUIT')
      return await ending(pooler, {})
    },
  },
  {
    name: 'SIGTERM waits for clients',
    since: '1.23',
    async play(pooler) {
      await using client = await pooler.connect()
      pooler.running.kill('SIGTERM')
      await pooler.logs('got SIGTERM')
      const answers: Answers = {
        'listens no more': await eventually(async () => !(await accepts(pooler.port))).then(() => 'yes'),
        served: await client.ask(query('select 1')),
      }
      await client.end()
      return await ending(pooler, answers)
    },
  },
  {
    name: 'SIGTERM twice',
    since: '1.23',
    async play(pooler) {
      await using _client = await pooler.connect()
      pooler.running.kill('SIGTERM')
      await pooler.logs('got SIGTERM')
      pooler.running.kill('SIGTERM')
      return await ending(pooler, {})
    },
  },
  {
    name: 'SIGINT waits for servers',
    since: '1.23',
    async play(pooler) {
      await using busy = await pooler.connect()
      await busy.ask(query('begin'))
      pooler.running.kill('SIGINT')
      await pooler.logs('got SIGINT')
      const answers: Answers = { served: await busy.ask(query('select 1')) }
      busy.send(query('commit'))
      answers.committed = (await busy.toTheEnd()).slice(0, 2)
      return await ending(pooler, answers)
    },
  },
  {
    name: 'SIGUSR1 and SIGUSR2',
    async play(pooler) {
      await using client = await pooler.connect()
      await pooler.newLog()
      pooler.running.kill('SIGUSR1')
      await pooler.logs('got SIGUSR1')
      client.send(query('select 1'))
      await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.cl_waiting === '1')
      pooler.running.kill('SIGUSR2')
      const answers: Answers = { resumed: await client.answer() }
      pooler.running.kill('SIGUSR2')
      await pooler.logs('not paused')
      answers.log = (await pooler.newLog()).filter((line) => /^\w+ got /.test(line))
      return answers
    },
  },
  {
    name: 'SHUTDOWN',
    async play(pooler) {
      await using client = await pooler.connect()
      await using admin = await pooler.console()
      admin.send(query('SHUTDOWN'))
      await Promise.all([admin.ended, client.ended])
      return { 'exit code': String(await pooler.running.ended) }
    },
  },
]
