// The Dockerfile, what is sent to build it, and the manifests: rules that need no engine to be checked.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { configFromEnv } from '../../src/config/env.js'
import { refuseUnknown } from '../../src/config/env-variables.js'
import { loadConfig } from '../../src/config/load.js'

const root = new URL('../../', import.meta.url).pathname
const read = (name: string): string => readFileSync(join(root, name), 'utf8')

/** Instructions in order, with continuation lines joined. */
const instructions = read('Dockerfile')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => ({ name: line.split(' ', 1)[0]!, text: line.slice(line.indexOf(' ') + 1).trim() }))
const all = (name: string) => instructions.filter((one) => one.name === name).map(({ text }) => text)
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'))

test('the base is the official image of one major version of Node.js', () => {
  const bases = all('FROM').map((text) => text.split(' ')[0])
  expect(new Set(bases).size).toBe(1)
  expect(bases[0]).toMatch(/^node:\d+-alpine$/)
  const { engines } = JSON.parse(read('package.json'))
  expect(Number(/\d+/.exec(bases[0]!)![0])).toBeGreaterThanOrEqual(Number(/\d+/.exec(engines.node)![0]))
})

test('the image runs as an ordinary user, answers for its health, and has commands in exec form', () => {
  const users = lastStage.filter(({ name }) => name === 'USER').map(({ text }) => text)
  expect(users).toEqual(['postgres'])
  const privileged = lastStage.findLastIndex(({ name }) => name === 'RUN')
  expect(lastStage.findIndex(({ name }) => name === 'USER')).toBeGreaterThan(privileged)
  expect(all('HEALTHCHECK')).toHaveLength(1)
  expect(all('HEALTHCHECK')[0]).toContain('CMD ["tsbouncer", "ping", ')
  for (const command of [...all('ENTRYPOINT'), ...all('CMD')]) expect(() => JSON.parse(command)).not.toThrow()
  expect(JSON.parse(all('ENTRYPOINT')[0]!)).toEqual(['tsbouncer', 'docker-entrypoint'])
  expect(all('STOPSIGNAL')).toEqual(['SIGINT'])
})

test('nothing comes from elsewhere than the context and the base, and what is only for building is left behind', () => {
  expect(instructions.map(({ name }) => name)).not.toContain('ADD')
  expect(all('RUN').join()).not.toMatch(/\b(curl|wget|apk|git)\b/)
  expect(lastStage.some(({ text }) => /\bnpm\b/.test(text))).toBe(false)
  expect(all('RUN').join()).toMatch(/npm ci .*--ignore-scripts/)
  expect(all('RUN').join()).toMatch(/npm prune --omit=dev /)
})

test('what is copied from the context is there, and all that is sent', () => {
  const sources = all('COPY')
    .filter((text) => !text.startsWith('--from'))
    .flatMap((text) => text.split(' ').slice(0, -1))
  expect(sources.filter((name) => !existsSync(join(root, name)))).toEqual([])
  const sent = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
  expect(sent.map((line) => line.slice(1)).sort()).toEqual(sources.sort())
  expect(read('.dockerignore')).toMatch(/^\*$/m)
})

test('stages are copied from by name', () => {
  const stages = all('FROM').flatMap((text) => / AS (\w+)$/.exec(text)?.[1] ?? [])
  const from = all('COPY').flatMap((text) => /^--from=(\S+)/.exec(text)?.[1] ?? [])
  expect(from.every((stage) => stages.includes(stage))).toBe(true)
})

/** Keys and scalar values of a part of a YAML file, as far as they stand on lines of their own. */
function mapping(text: string, after: string): Record<string, string> {
  const [, rest = ''] = text.split(`${after}\n`)
  const indent = /^ */.exec(rest)![0]
  const lines = rest.split('\n')
  const end = lines.findIndex((line) => !line.startsWith(indent))
  const pairs = lines.slice(0, end).flatMap((line) => /^ +([A-Z]\w+): (.*)$/.exec(line)?.slice(1) ?? [])
  return Object.fromEntries(pairs.flatMap((_, i) => (i % 2 === 0 ? [[pairs[i], pairs[i + 1]]] : [])))
}

test('the environment in compose.yaml makes a configuration with both servers', async () => {
  const env = mapping(read('compose.yaml').split('  pooler:\n')[1]!, '    environment:')
  expect(Object.keys(env).length).toBeGreaterThan(4)
  expect(() => refuseUnknown(env)).not.toThrow()
  const { ini } = configFromEnv(env, { authFile: '', runAs: undefined })!
  const config = await loadConfig('compose', { readFile: async () => ini })
  expect([...config.databases.values()].map(({ name, hosts }) => [name, ...hosts])).toEqual([
    ['pg_rw', 'primary'],
    ['pg_ro', 'standby'],
  ])
  expect(config.warnings).toEqual([])
})

test('the configuration for Kubernetes loads, without a warning, and its port is the one of the manifests', async () => {
  const { settings, warnings } = await loadConfig(join(root, 'deploy/kubernetes/pgbouncer.ini'))
  expect(warnings).toEqual([])
  expect(read('deploy/kubernetes/deployment.yaml')).toContain(`containerPort: ${settings.listen_port}`)
  expect(read('deploy/kubernetes/service.yaml')).toContain(`port: ${settings.listen_port}`)
})

test('the manifests name the version of the package', () => {
  const { version } = JSON.parse(read('package.json'))
  expect(read('deploy/kubernetes/kustomization.yaml')).toContain(`newTag: ${version}\n`)
  expect(read('CHANGELOG.md')).toMatch(new RegExp(`^## (Unreleased|${version.replaceAll('.', '\\.')}\\b)`, 'm'))
})

test('a Pod has come to its end before Kubernetes kills it', async () => {
  const deployment = read('deploy/kubernetes/deployment.yaml')
  const grace = Number(/^ *terminationGracePeriodSeconds: (\d+)$/m.exec(deployment)![1])
  const preStop = Number(/command: \[sleep, "(\d+)"\]/.exec(deployment)![1])
  const { settings } = await loadConfig(join(root, 'deploy/kubernetes/pgbouncer.ini'))
  expect(settings.shutdown_timeout).toBeGreaterThan(0)
  expect(preStop + settings.shutdown_timeout).toBeLessThan(grace)
})
