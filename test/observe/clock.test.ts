import { expect, test } from 'vitest'
import { systemClock } from '../../src/observe/clock.js'

test('what is due in longer than Node.js can wait is not due at once', async () => {
  let hasRun = false
  const timer = systemClock.after(1e12, () => {
    hasRun = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  timer.cancel()
  expect(hasRun).toBe(false)
})
