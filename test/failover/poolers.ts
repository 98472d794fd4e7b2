// How the pooler of the drill is configured: with roles of hosts or as it is without them, and how clients log in.

import type { ClientConfig } from 'pg'
import { lookupQuery } from '../../src/demo/roles.js'
import type { Address, PostgresFacts } from '../harness/cluster.js'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { authority, clientTlsFiles, Folder } from '../harness/tls.js'
import { database, type FailoverCluster } from './cluster.js'
import { maxReplicaLag, period } from './scenes.js'

/** `plain`: one host an entry, and none of the keys that know of roles. */
export type Routing = 'roles' | 'plain'

/** How clients and servers know each other. */
export type Login = 'trust' | 'scram' | 'tls' | 'auth_query'

export interface DrillPooler extends AsyncDisposable {
  readonly pooler: TestPooler
  readonly login: (entry: string) => ClientConfig
}

export async function startDrillPooler(
  cluster: FailoverCluster,
  routing: Routing,
  login: Login = 'trust',
): Promise<DrillPooler> {
  const { user, password } = cluster.facts.roles.scram_user
  const files = await Folder.open(clientTlsFiles)
  const { settings, secrets } = loginOf(login, cluster.facts, files)
  const pooler = await startPooler(
    { ...settings, default_pool_size: 15, ...routingSettings[routing] },
    { databases: entriesOf(cluster, routing), secrets },
  )
  return {
    pooler,
    login: (entry) => ({
      host: '127.0.0.1',
      port: pooler.port,
      user,
      password,
      database: entry,
      ...(login === 'tls' && { ssl: { ca: authority.cert } }),
    }),
    async [Symbol.asyncDispose]() {
      await pooler[Symbol.asyncDispose]()
      await files[Symbol.asyncDispose]()
    },
  }
}

/** In seconds. A pooler without roles is to come back as fast as it can. */
const routingSettings: Readonly<Record<Routing, Readonly<Record<string, number>>>> = {
  roles: { host_check_period: period / 1000, max_replica_lag: maxReplicaLag / 1000 },
  plain: { server_login_retry: 1 },
}

function entriesOf({ primary, standbys, hosts }: FailoverCluster, routing: Routing): Record<string, string> {
  const at = (...addresses: readonly Address[]): string =>
    `dbname=${database} host=${addresses.map(({ host }) => host)} port=${addresses.map(({ port }) => port)}`
  if (routing === 'plain') return { pg_rw: at(primary.link.address), pg_ro: at(standbys[0]!.link.address) }
  const all = at(...hosts.map(({ link }) => link.address))
  return {
    pg_rw: `${all} target_session_attrs=read-write`,
    pg_ro: `${all} target_session_attrs=prefer-standby`,
  }
}

function loginOf(
  login: Login,
  { roles }: PostgresFacts,
  files: Folder,
): { readonly settings: Settings; readonly secrets: Readonly<Record<string, string>> } {
  const { user, password, secret } = roles.scram_user
  switch (login) {
    case 'trust':
      return { settings: {}, secrets: { [user]: password } }
    case 'scram': // what a client proves is what the servers are shown
      return { settings: { auth_type: 'scram-sha-256' }, secrets: { [user]: secret } }
    case 'tls':
      return {
        settings: { ...files.clientTls, client_tls_sslmode: 'require', server_tls_sslmode: 'require' },
        secrets: { [user]: password },
      }
    case 'auth_query': {
      const { pgbouncer } = roles
      const settings = { auth_type: 'scram-sha-256', auth_user: pgbouncer.user, auth_query: lookupQuery }
      return { settings, secrets: { [pgbouncer.user]: pgbouncer.password } }
    }
  }
}
