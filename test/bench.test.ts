// The micro-benchmarks still run: each case once.

import { describe, expect, test } from 'vitest'
import { auth } from '../bench/micro/auth.js'
import { config } from '../bench/micro/config.js'
import { console as adminConsole } from '../bench/micro/console.js'
import { framing } from '../bench/micro/framing.js'
import { log } from '../bench/micro/log.js'
import { outstanding } from '../bench/micro/outstanding.js'
import { relay } from '../bench/micro/relay.js'
import { socket } from '../bench/micro/socket.js'

describe.each([framing, outstanding, relay, socket, auth, config, adminConsole, log])('$name', (suite) => {
  test('runs', async () => {
    const cases = await suite.cases()
    expect(cases.length).toBeGreaterThan(0)
    for (const { run } of cases) await run()
    for (const { close } of cases) close?.()
  })
})
