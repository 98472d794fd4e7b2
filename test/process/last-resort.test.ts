import { EventEmitter } from 'node:events'
import { connect, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { catchTheRest } from '../../src/process/last-resort.js'
import { RecordingLog } from './recording-log.js'

function setUp() {
  const log = new RecordingLog()
  const source = new EventEmitter()
  const exits: number[] = []
  const letGo = catchTheRest(log, source, (code) => exits.push(code))
  return { log, source, exits, letGo }
}

test('an exception ends the process with 1, and its stack is in the log', () => {
  const { log, source, exits } = setUp()
  source.emit('uncaughtException', new TypeError('x is not a function'))
  expect(exits).toEqual([1])
  expect(log.lines).toHaveLength(1)
  expect(log.lines[0]).toMatch(
    /^fatal uncaught exception: TypeError: x is not a function\n +at .*last-resort\.test\.ts/,
  )
})

test('a rejection is logged with its stack, and all goes on', () => {
  const { log, source, exits } = setUp()
  source.emit('unhandledRejection', new Error('no such host'))
  source.emit('unhandledRejection', 'thrown text')
  expect(exits).toEqual([])
  expect(log.lines[0]).toMatch(/^error unhandled rejection: Error: no such host\n +at .*last-resort\.test\.ts/)
  expect(log.lines[1]).toBe('error unhandled rejection: thrown text')
})

test('what the network does to one socket does not end the others', async () => {
  const { log, source, exits } = setUp()
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  const refused = await new Promise((resolve) => connect(port, '127.0.0.1').once('error', resolve))
  source.emit('uncaughtException', refused)
  source.emit('uncaughtException', Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' }))
  expect(exits).toEqual([])
  expect(log.lines[0]).toMatch(/^error unhandled socket error: Error: connect ECONNREFUSED/)
  expect(log.lines[1]).toMatch(/^error unhandled socket error: Error: read ECONNRESET/)
})

test('it can be undone', () => {
  const { source, letGo } = setUp()
  letGo()
  expect(source.eventNames()).toEqual([])
})
