// The end of the pooler: clients or servers waited for, and then everything closed at once.

import type { Clients } from '../client/clients.js'
import { PooledClient } from '../client/pooled-client.js'
import { PgError } from '../protocol/errors.js'
import { withoutPromise } from '../server/leave-promise.js'

/** What lies above clients and pools. */
export interface Ending {
  /** Everything has been closed. */
  isOver(): boolean
  /** Takes no more connections, but for those of the console. */
  closeListeners(): void
  /** Closes everything. */
  close(): Promise<void>
}

/** Waits for clients to leave, or for servers to be free, for `shutdown_timeout` at most; then closes everything. */
export async function shutDown(
  clients: Clients,
  mode: 'wait_for_servers' | 'wait_for_clients',
  ending: Ending,
): Promise<void> {
  const { context, registry } = clients
  const { log } = context
  clients.isClosing = true
  if (clients.isSuspended) clients.wake() // else nobody could leave, or be seen to
  if (mode === 'wait_for_servers') clients.refuseFrom(0)
  ending.closeListeners()
  clients.refuseFrom(context.nextId) // who has been let in already may log in
  const seconds = context.config.settings.shutdown_timeout
  const closeRest = (): void => {
    log.warning(`not done after ${seconds} s (shutdown_timeout), closing what is left`)
    void ending.close()
  }
  const limit = seconds > 0 ? context.clock.after(seconds * 1000, closeRest) : undefined
  const isDone = mode === 'wait_for_servers' ? drainServers(clients) : () => clients.consoleApart().length === 0
  await registry.conditions.until(() => ending.isOver() || isDone())
  limit?.cancel()
  if (!ending.isOver()) log.info(`${mode === 'wait_for_servers' ? 'server' : 'client'} connections dropped, exiting`)
  await ending.close()
}

/** @returns whether all servers are free and closed; clients that want one from now on are told by the janitor */
function drainServers(clients: Clients): () => boolean {
  const { context, registry } = clients
  withoutPromise(() => {
    context.isPaused = true
    for (const client of clients.consoleApart()) {
      const { phase } = client
      if (phase?.name === 'login' || (phase instanceof PooledClient && phase.isWaiting))
        client.fail(new PgError('server_shutting_down'))
    }
    for (const pool of registry.pools()) {
      for (const server of [...pool.idle, ...pool.used, ...pool.connecting]) server.close('server_shutting_down')
    }
  })
  return () => [...registry.pools()].every((pool) => pool.size === 0)
}

/** Closes whoever is there, those who came during a SUSPEND too. To be called again for who is accepted after that. */
export function closeEverything(clients: Clients): void {
  withoutPromise(() => {
    clients.isClosing = true
    clients.refuseFrom(0)
    clients.isSuspended = false
    clients.takeParked()
    for (const client of [...clients]) {
      if (client.isConsole) client.close('pooler_shutting_down')
      else client.fail(new PgError('server_shutting_down'))
    }
    const { registry } = clients
    for (const pool of registry.pools()) for (const server of pool.servers()) server.close('pooler_shutting_down')
    clients.cancels.end()
  })
}
