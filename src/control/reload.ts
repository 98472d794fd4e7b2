// RELOAD and SET: the next configuration read whole, with the files that it names, and then put into force.

import { readAuthFiles } from '../auth/auth-files.js'
import { ConfigError } from '../config/config-error.js'
import { type Config, type LoadOptions, loadConfig, withSetting } from '../config/load.js'
import { applicable, diffConfig } from '../config/reload.js'
import * as logTexts from '../observe/log-texts.js'
import type { Registry } from '../pool/registry.js'
import { withoutPromise } from '../server/leave-promise.js'
import { isOfTls, TlsFiles, tlsNotApplied } from '../server/tls-files.js'
import { reconfigure } from './reconfigure.js'
import type { Notice } from './status.js'

export class Reloader {
  private readonly registry: Registry
  private readonly load: LoadOptions | undefined
  private readonly check: () => void
  private latest: Promise<void> = Promise.resolve()

  /**
   * @param load how the configuration is loaded: what -v and -u say
   * @param check throws where the pooler has been closed meanwhile
   */
  constructor(registry: Registry, load: LoadOptions | undefined, check: () => void) {
    this.registry = registry
    this.load = load
    this.check = check
  }

  /**
   * Reads the configuration again. Given as an object, the files that it names are.
   * @returns what is to be told: settings that are changed, but need a restart
   * @throws ConfigError, and then nothing has changed
   */
  reload(): Promise<readonly string[]> {
    return this.inTurn(async () => {
      const { context } = this.registry
      const source = context.config.settings.conffile || context.config.file
      const next = source === undefined ? context.config : await loadConfig(source, this.load)
      const { needRestart } = diffConfig(context.config, next)
      const late = needRestart.map((name) => `${name} is changed in ${source}: it needs a restart to take effect`)
      const applied = applicable(context.config, next)
      await this.apply(applied, await TlsFiles.read(applied, context.tls))
      for (const warning of [...(source === undefined ? [] : next.warnings), ...late]) context.log.warning(warning)
      return late
    })
  }

  /** The same for an administrator: what is wrong is in the log, as pgbouncer's. */
  async reloadLogged(): Promise<readonly string[]> {
    try {
      return await this.reload()
    } catch (error) {
      const { log } = this.registry.context
      log.error(error instanceof ConfigError ? error.message : String((error as Error).stack))
      log.warning(logTexts.configNotLoaded)
      throw error
    }
  }

  /**
   * SET of the console.
   * @returns what the administrator is told beside its success
   * @throws ConfigError
   */
  set(key: string, value: string): Promise<Notice | undefined> {
    return this.inTurn(async () => {
      const { config, tls: former, log } = this.registry.context
      const next = withSetting(config, key, value)
      let tls = former
      let notice: Notice | undefined
      if (isOfTls(key)) {
        try {
          tls = await TlsFiles.read(next, former)
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error
          // Certificate and key come one at a time: what does not fit yet is kept for what is set next.
          notice = { text: tlsNotApplied, detail: error.message }
          log.warning(`${notice.text}: ${notice.detail}`)
        }
      }
      await this.apply(next, tls)
      for (const warning of next.warnings) log.warning(warning)
      return notice
    })
  }

  /** Changes read files: each begins when the one before it is done. */
  private inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.latest.then(change)
    this.latest = done.then(nothing, nothing)
    return done
  }

  /** All files are read before anything changes. */
  private async apply(next: Config, tls: TlsFiles): Promise<void> {
    const { registry } = this
    const { context } = registry
    const files = await readAuthFiles(next.settings)
    this.check()
    for (const warning of files.warnings) context.log.warning(warning)
    if (tls !== context.tls) for (const warning of tls.warnings) context.log.warning(warning)
    withoutPromise(() => {
      context.config = next
      context.tls = tls
      context.log.reopen(next.settings)
      reconfigure(registry, files)
    })
  }
}

const nothing = (): void => {}
