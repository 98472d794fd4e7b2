import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

const root = new URL('../../', import.meta.url).pathname
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  'examples/README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** As GitHub makes them: https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting */
function anchorsOf(page: string): string[] {
  const headings = page.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ +(.+)$/gm)
  return [...headings].map(([, text = '']) =>
    text
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

test.each(pages)('the links of %s lead somewhere', (name) => {
  const page = readFileSync(join(root, name), 'utf8')
  const links = [...page.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!).filter((link) => !/^https?:/.test(link))
  const broken = links.filter((link) => {
    const [path, anchor] = link.split('#')
    const target = path === '' ? join(root, name) : join(root, dirname(name), path!)
    if (!existsSync(target)) return true
    return anchor !== undefined && !anchorsOf(readFileSync(target, 'utf8')).includes(anchor)
  })
  expect(broken).toEqual([])
})

test.each(pages)('%s has settings in its ini blocks that load as they stand', async (name) => {
  const { loadConfig } = await import('../../src/config/load.js')
  const page = readFileSync(join(root, name), 'utf8')
  for (const [, text = ''] of page.matchAll(/^```ini\n([\s\S]*?)^```/gm)) {
    const readFile = async (): Promise<string> => `[pgbouncer]\n${text}`
    await expect(loadConfig(name, { readFile }), text).resolves.toBeDefined()
  }
})

test.each(pages)('%s names no settings that are none', async (name) => {
  const { settingNamed } = await import('../../src/config/settings.js')
  const page = readFileSync(join(root, name), 'utf8')
  // `name = value` within backticks, and lines of ini blocks.
  const inline = [...page.matchAll(/`([a-z]\w*_\w*) = [^`]*`/g)].map(([, key]) => key!)
  const blocks = [...page.matchAll(/^```ini\n([\s\S]*?)^```/gm)].flatMap(([, text = '']) => text.split('\n'))
  const inBlocks = blocks.flatMap((line) => /^([a-z]\w*_\w*) *=/.exec(line)?.[1] ?? [])
  expect([...inline, ...inBlocks].filter((key) => settingNamed(key) === undefined)).toEqual([])
})
