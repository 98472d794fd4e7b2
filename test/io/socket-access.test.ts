import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isClosedToOthers, isKnownClosed, ownUserName } from '../../src/io/socket-access.js'

/** Folders within each other, of these modes, and in the last one a socket that all may write to. */
async function socketBelow(...modes: readonly number[]): Promise<{ folders: string[]; path: string }> {
  const top = mkdtempSync(join(tmpdir(), 'access-'))
  onTestFinished(() => rmSync(top, { recursive: true, force: true }))
  const folders = [top]
  for (const _ of modes.slice(1)) folders.push(join(folders.at(-1)!, 'in'))
  for (const folder of folders.slice(1)) mkdirSync(folder)
  const path = join(folders.at(-1)!, 's')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(() => void server.close())
  chmodSync(path, 0o777)
  for (const [at, mode] of modes.entries()) chmodSync(folders[at]!, mode)
  return { folders, path }
}

describe.runIf(process.platform === 'linux')('on Linux', () => {
  const mounts = ['/', '/proc', tmpdir()]

  test.each<[string, readonly number[], boolean]>([
    ['no folder is closed', [0o755, 0o755, 0o755], false],
    ['the last folder is closed', [0o755, 0o755, 0o700], true],
    ['the one above it is', [0o755, 0o700, 0o755], true],
    ['the first of several is', [0o700, 0o777, 0o777], true],
    ['some may be searched by a group, or be listed by others', [0o710, 0o704, 0o755], false],
  ])('%s', async (_what, modes, expected) => {
    const { path } = await socketBelow(...modes)
    expect(isClosedToOthers(path, mounts)).toBe(expected)
  })

  test('a folder above the mount point does not count, the mount point does', async () => {
    const { folders, path } = await socketBelow(0o700, 0o755, 0o755)
    expect(isClosedToOthers(path, [...mounts, folders[0]!])).toBe(true)
    expect(isClosedToOthers(path, [...mounts, folders[1]!])).toBe(false)
    expect(isClosedToOthers(path, [...mounts, folders[2]!])).toBe(false)
    // A name that merely begins the same is no mount point of it.
    expect(isClosedToOthers(path, [...mounts, folders[1]!.slice(0, -1)])).toBe(true)
  })

  test('where mount points are not known, the last folder alone counts', async () => {
    const { path } = await socketBelow(0o700, 0o755)
    // As on a system without /proc.
    expect(isClosedToOthers(path, [dirname(path)])).toBe(false)
  })

  test('what counts is where the folder really is, not by which links it was named', async () => {
    const { path } = await socketBelow(0o755)
    const hidden = mkdtempSync(join(tmpdir(), 'access-'))
    onTestFinished(() => rmSync(hidden, { recursive: true, force: true }))
    symlinkSync(dirname(path), join(hidden, 'link'))
    chmodSync(hidden, 0o700)
    expect(isClosedToOthers(join(hidden, 'link', 's'), mounts)).toBe(false)
    const { path: closed } = await socketBelow(0o700, 0o755)
    const open = mkdtempSync(join(tmpdir(), 'access-'))
    onTestFinished(() => rmSync(open, { recursive: true, force: true }))
    chmodSync(open, 0o755)
    symlinkSync(dirname(closed), join(open, 'link'))
    expect(isClosedToOthers(join(open, 'link', 's'), mounts)).toBe(true)
  })

  test.runIf(process.getuid?.() === 0)("somebody else's folder does not count, root's does", async () => {
    const { folders, path } = await socketBelow(0o700, 0o755)
    chownSync(folders[0]!, 65_534, 65_534)
    expect(isClosedToOthers(path, mounts)).toBe(false)
    chownSync(folders[0]!, 0, 0)
    expect(isClosedToOthers(path, mounts)).toBe(true)
  })

  test('the mount points of this very process are read', async () => {
    const { path } = await socketBelow(0o700, 0o755)
    expect(isClosedToOthers(path)).toBe(true)
  })

  test('what is out of reach is not known to be closed', () => {
    expect(isClosedToOthers('/no/such/folder/s')).toBe(false)
    expect(isKnownClosed('/no/such/folder/s')).toBe(false)
    expect(isKnownClosed('@abstract')).toBe(false)
  })
})

test('our own user has a name', () => {
  expect(ownUserName()).toBe(userInfo().username)
})
