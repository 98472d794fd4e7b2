import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { isRoot, root } from './command.js'

/** What becomes of a process, started as we are, that becomes this user. */
function become(name: string | undefined): { readonly error?: string; readonly ids?: unknown } {
  const program = `
    const { becomeUser } = await import('./dist/process/user.js')
    const first = process.getuid() // loaded: what follows may not be able to read the module any more
    try {
      becomeUser(${JSON.stringify(name)})
      console.log(JSON.stringify({ ids: [process.getuid(), process.geteuid(), process.getgid(), process.getgroups()] }))
    } catch (error) {
      console.log(JSON.stringify({ error: error.message }))
    }`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  })
  return JSON.parse(stdout)
}

const idsOf = (name: string) => {
  const ask = (what: string) => spawnSync('id', [what, name], { encoding: 'utf8' }).stdout.trim().split(' ').map(Number)
  return [ask('-u')[0], ask('-u')[0], ask('-g')[0], expect.arrayContaining(ask('-G'))]
}

test.runIf(isRoot)('root becomes the user that is named, with its groups and for good', () => {
  expect(become('nobody')).toEqual({ ids: idsOf('nobody') })
})

test.runIf(isRoot)('root is refused, and told how to go on', () => {
  for (const name of [undefined, 'root']) {
    expect(become(name)).toEqual({
      error:
        'PgBouncer should not run as root: name another user with -u USER, or with user = USER in the configuration',
    })
  }
})

test.skipIf(isRoot)('who is not root stays who he is, and may name himself', () => {
  const name = spawnSync('id', ['-un'], { encoding: 'utf8' }).stdout.trim()
  for (const user of [undefined, name]) expect(become(user)).toHaveProperty('ids')
})

test.skipIf(isRoot)('who is not root cannot become another', () => {
  expect(become('root')).toEqual({
    error: expect.stringMatching(
      /^failed to assume identity of user 'root' \(user, or -u\): operation not permitted; only root /i,
    ),
  })
})

test('a user that does not exist is named', () => {
  for (const name of ['zork-of-nowhere', '-u', '']) {
    expect(become(name)).toEqual({ error: `could not find user '${name}' to switch to (user, or -u)` })
  }
})
