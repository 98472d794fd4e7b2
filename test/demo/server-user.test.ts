import { expect, test } from 'vitest'
import { unprivilegedUser } from '../../src/demo/server-user.js'

const root = 'root:x:0:0:root:/root:/bin/bash'
const postgres = 'postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash'
const nobody = 'nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin'

test('the least privileged user is chosen, whatever the order of the file', () => {
  expect(unprivilegedUser([root, postgres, nobody, ''].join('\n'))).toEqual({ name: 'nobody', uid: 65534, gid: 65533 })
  expect(unprivilegedUser([root, postgres].join('\n'))).toEqual({ name: 'postgres', uid: 101, gid: 104 })
})

test('root under another name, a negative number and a broken line are not chosen', () => {
  const lines = ['nobody:x:0:0::/:/bin/sh', 'daemon:*:-2:-2::/:/bin/sh', 'postgres', root]
  expect(unprivilegedUser(lines.join('\n'))).toBeUndefined()
  expect(unprivilegedUser('')).toBeUndefined()
})
