// `tsbouncer ping FILE`: does the pooler of this configuration answer? For health checks; it leaves no line in the log.

import { connect, type NetConnectOpts } from 'node:net'
import { ConfigError } from '../config/config-error.js'
import { loadConfig } from '../config/load.js'
import type { Settings } from '../config/settings.js'

/** How long an answer may take, ms. */
const patience = 3000

/** SSLRequest, which is answered with one byte, S or N, before anything is known of a client. */
const sslRequest = Buffer.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f)

/** @returns exit code: 0 where it answers */
export async function ping(file: string): Promise<number> {
  try {
    const { settings } = await loadConfig(file)
    const target = targetOf(settings)
    await answerFrom(target)
    process.stdout.write(`${describe(target)} - accepting connections\n`)
    return 0
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof NoAnswer)) throw error
    process.stderr.write(`${error.message}\n`)
    return 1
  }
}

class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
}

type Target = { readonly host: string; readonly port: number } | { readonly path: string }

/** The first address that it listens on; of those that mean every address, the one of this machine. */
function targetOf({ listen_addr: hosts, listen_port: port, unix_socket_dir: folder }: Settings): Target {
  const [host] = hosts
  if (host !== undefined) return { host: loopbackOf(host), port }
  if (folder === '') throw new NoAnswer('neither listen_addr nor unix_socket_dir is set')
  return { path: `${folder.replace(/^@/, '\0')}/.s.PGSQL.${port}` }
}

function loopbackOf(host: string): string {
  if (host === '*' || host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

function describe(target: Target): string {
  return 'path' in target ? target.path.replace('\0', '@') : `${target.host}:${target.port}`
}

function answerFrom(target: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(target as NetConnectOpts)
    const fail = (reason: string): void => {
      socket.destroy()
      reject(new NoAnswer(`${describe(target)} - ${reason}`))
    }
    socket.setTimeout(patience, () => fail('no response'))
    socket.once('error', (error: NodeJS.ErrnoException) => fail(`no response: ${error.code ?? error.message}`))
    socket.once('close', () => fail('no response: closed'))
    socket.once('data', (answer: Buffer) => {
      if (answer[0] !== 0x53 && answer[0] !== 0x4e) return fail('something else listens there')
      socket.destroy()
      resolve()
    })
    socket.write(sslRequest)
  })
}
