// Debian's slapd and the tools of the same library, where they are installed: the measure of what an LDAP client trusts.

import { execFile, spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { findFreePort } from '../../src/demo/port.js'
import type { Issued } from '../harness/certificates.js'
import { Folder } from '../harness/tls.js'

function find(program: string): string | undefined {
  const folders = ['/usr/sbin', '/usr/lib/openldap', ...(process.env.PATH ?? '').split(delimiter)]
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

const [slapd, whoami] = [find('slapd'), find('ldapwhoami')]
/** As Debian has it. */
export const hasSlapd: boolean =
  slapd !== undefined && whoami !== undefined && existsSync('/etc/ldap/schema/core.schema')

/** The one who can log in. */
export const dn = 'uid=anna,dc=x'
export const password = 'anna pw'

export class Slapd implements AsyncDisposable {
  readonly port: number
  readonly tlsPort: number
  readonly #dispose: () => Promise<void>

  private constructor(port: number, tlsPort: number, dispose: () => Promise<void>) {
    this.port = port
    this.tlsPort = tlsPort
    this.#dispose = dispose
  }

  /** @param demands authority (PEM) by which clients must show a certificate */
  static async start({ cert, key }: Issued, demands?: string): Promise<Slapd> {
    const folder = await Folder.open({ cert, key, ...(demands !== undefined && { ca: demands }) })
    const port = await findFreePort()
    const tlsPort = await findFreePort(port)
    const lines = [
      'include /etc/ldap/schema/core.schema',
      'modulepath /usr/lib/ldap',
      'moduleload back_mdb',
      `TLSCertificateFile ${folder.file('cert')}`,
      `TLSCertificateKeyFile ${folder.file('key')}`,
      ...(demands === undefined ? [] : [`TLSCACertificateFile ${folder.file('ca')}`, 'TLSVerifyClient demand']),
      'database mdb',
      'suffix dc=x',
      `directory ${folder.path}`,
      `rootdn "${dn}"`,
      `rootpw "${password}"`,
    ]
    const conf = await folder.write('slapd.conf', `${lines.join('\n')}\n`)
    const urls = `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${tlsPort}`
    const child = spawn(slapd!, ['-h', urls, '-f', conf, '-d', '0'], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    while (!(await listens(tlsPort))) {
      if (child.exitCode !== null) throw new Error(`slapd has ended: ${said}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return new Slapd(port, tlsPort, async () => {
      child.kill('SIGKILL')
      await ended
      await folder[Symbol.asyncDispose]()
    })
  }

  /** Does the library itself log in, in this environment? */
  async letsIn(url: string, env: NodeJS.ProcessEnv): Promise<boolean> {
    const startTls = url.startsWith('ldap:') ? ['-ZZ'] : []
    const args = ['-x', '-H', url, ...startTls, '-D', dn, '-w', password]
    return new Promise((resolve) => {
      execFile(whoami!, args, { env: { PATH: process.env.PATH, ...env }, cwd: '/' }, (error) => resolve(error === null))
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#dispose()
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
