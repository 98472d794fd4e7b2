import { expect, test } from 'vitest'
import { type Config, loadConfig } from '../../src/config/load.js'

function load(section: string, line: string): Promise<Config> {
  return loadConfig('x.ini', { readFile: async () => `[pgbouncer]\n[${section}]\n${line}` })
}

async function database(line: string) {
  return (await load('databases', `a = ${line}`)).databases.get('a')
}

test('a database without keys is itself, over the Unix socket', async () => {
  expect(await database('')).toEqual({
    name: 'a',
    dbname: 'a',
    hosts: [],
    ports: [5432],
    loadBalanceHosts: 'round-robin',
    targetSessionAttrs: 'any',
    startupParameters: {},
    tls: {},
    place: { file: 'x.ini', line: 3 },
  })
})

test('all keys of a database are read', async () => {
  const { password, ...rest } =
    (await database(
      `host=h port=1 dbname=d user=u password=p auth_user=au auth_query='select $1' auth_dbname=ad pool_size=1
       min_pool_size=2 reserve_pool_size=3 max_db_connections=4 max_db_client_connections=5 pool_mode=STATEMENT
       session_state=Track server_lost=Error load_balance_hosts=disable target_session_attrs=Read-Write max_replica_lag=2.5 server_lifetime=6 query_wait_timeout=7.5 connect_query='select ''x''' client_encoding=c
       datestyle=ISO timezone='A/B' application_name=app sslmode=verify-full sslnegotiation=direct sslrootcert=r
       sslcert=c sslkey=k`.replace(/\n */g, ' '),
    )) ?? {}
  expect(password?.reveal()).toBe('p')
  expect(rest).toEqual({
    name: 'a',
    hosts: ['h'],
    ports: [1],
    dbname: 'd',
    user: 'u',
    authUser: 'au',
    authQuery: 'select $1',
    authDbname: 'ad',
    poolSize: 1,
    minPoolSize: 2,
    reservePoolSize: 3,
    maxDbConnections: 4,
    maxDbClientConnections: 5,
    poolMode: 'statement',
    sessionState: 'track',
    serverLost: 'error',
    loadBalanceHosts: 'disable',
    targetSessionAttrs: 'read-write',
    maxReplicaLag: 2.5,
    serverLifetime: 6,
    queryWaitTimeout: 7.5,
    connectQuery: "select 'x'",
    startupParameters: { client_encoding: 'c', datestyle: 'ISO', timezone: 'A/B', application_name: 'app' },
    tls: { sslmode: 'verify-full', sslnegotiation: 'direct', sslrootcert: 'r', sslcert: 'c', sslkey: 'k' },
    place: { file: 'x.ini', line: 3 },
  })
})

test('sizes below 0 and limits up to 0 are left to the next level', async () => {
  const inherited = await database(
    'pool_size=-1 max_db_connections=0 max_db_client_connections=-1 server_lifetime=0 query_wait_timeout=-1',
  )
  expect(inherited?.poolSize).toBeUndefined()
  expect(inherited?.maxDbConnections).toBeUndefined()
  expect(inherited?.maxDbClientConnections).toBeUndefined()
  expect(inherited?.serverLifetime).toBeUndefined()
  expect(inherited?.queryWaitTimeout).toBeUndefined()
  expect(await database('pool_size=0 query_wait_timeout=0')).toMatchObject({ poolSize: 0, queryWaitTimeout: 0 })
})

test('reserve_pool is another name of reserve_pool_size; the last one counts', async () => {
  expect((await database('reserve_pool=1'))?.reservePoolSize).toBe(1)
  expect((await database('reserve_pool=1 reserve_pool_size=2'))?.reservePoolSize).toBe(2)
  expect((await database('reserve_pool_size=2 reserve_pool=1'))?.reservePoolSize).toBe(1)
})

test.each([
  ['host=a,b,c', ['a', 'b', 'c'], [5432]],
  ['host=a,b port=1', ['a', 'b'], [1]],
  ['host=a,b port=1,2', ['a', 'b'], [1, 2]],
  ["host='a, b' port='1, 2'", ['a', 'b'], [1, 2]],
  ['host=::1', ['::1'], [5432]],
  ['host=[::1]', ['::1'], [5432]],
  ['host=2001:db8::1,10.0.0.1', ['2001:db8::1', '10.0.0.1'], [5432]],
  ['host=/tmp', ['/tmp'], [5432]],
  ['host=@name', ['@name'], [5432]],
  ['postgres://[::1]:7,b/', ['::1', 'b'], [7, 5432]],
])('%s gives hosts and ports', async (line, hosts, ports) => {
  expect(await database(line)).toMatchObject({ hosts, ports })
})

test.each([
  ['pgbouncer =', 'database name "pgbouncer" is reserved (x.ini:3)'],
  [`${'x'.repeat(64)} =`, `too long db name: "${'x'.repeat(64)}" (x.ini:3): at most 63 bytes`],
  ["a = password=''", 'syntax error in connection string (x.ini:3): password has an empty value'],
  ['a = hots=x', 'unrecognized connection parameter: hots (x.ini:3): did you mean host?'],
  ['a = default_pool_size=1', 'unrecognized connection parameter: default_pool_size (x.ini:3): here it is pool_size'],
  ['a = Host=x', 'unrecognized connection parameter: Host (x.ini:3): did you mean host?'],
  ['a = constructor=x', 'unrecognized connection parameter: constructor (x.ini:3)'],
  [
    'a = connect_timeout=5',
    'unrecognized connection parameter: connect_timeout (x.ini:3): server_connect_timeout bounds connecting and logging in',
  ],
  ['a = sslcert=c', 'sslcert and sslkey belong together: one of them is missing (x.ini:3)'],
  [
    'a = sslmode=prefer sslnegotiation=direct',
    'sslnegotiation=direct needs sslmode=require or stronger, not prefer (x.ini:3)',
  ],
  ['a = port=0', 'invalid value for port in configuration (x.ini:3): expected a whole number from 1 to 65535'],
  ['a = port=5432x', 'invalid value for port in configuration (x.ini:3): expected a whole number from 1 to 65535'],
  [
    'a = pool_size=20x',
    'invalid value for pool_size in configuration (x.ini:3): expected a whole number up to 2147483647',
  ],
  [
    'a = pool_mode=tx',
    'invalid value for pool_mode in configuration (x.ini:3): expected one of session, transaction, statement',
  ],
  [
    'a = target_session_attrs=master',
    'invalid value for target_session_attrs in configuration (x.ini:3): expected one of any, read-write, read-only, primary, standby, prefer-standby',
  ],
  [
    'a = load_balance_hosts=least',
    'invalid value for load_balance_hosts in configuration (x.ini:3): expected one of round-robin, disable, random, least-connections',
  ],
  [
    'a = max_replica_lag=-1',
    'invalid value for max_replica_lag in configuration (x.ini:3): expected 0 or more seconds',
  ],
  [
    'a = query_wait_timeout=-2',
    'invalid value for query_wait_timeout in configuration (x.ini:3): expected 0 or more seconds',
  ],
  [
    'a = auth_dbname=pgbouncer',
    'invalid value for auth_dbname in configuration (x.ini:3): cannot use the reserved "pgbouncer" database as an auth_dbname',
  ],
  ['a = host=a,,b', 'invalid value for host in configuration (x.ini:3): a host is empty'],
  ['a = host=a\tport=1', 'invalid value for host in configuration (x.ini:3): a host has a blank in it'],
  [
    'a = host=a:5432',
    'invalid value for host in configuration (x.ini:3): a host with a colon is no IPv6 address (is a port meant?)',
  ],
  [
    'a = host=a port=1,2',
    'database "a" has 1 host but 2 ports (x.ini:3): expected one port for all hosts, or one for each',
  ],
  [
    'a = host=a,b port=1,2,3',
    'database "a" has 2 hosts but 3 ports (x.ini:3): expected one port for all hosts, or one for each',
  ],
  ['* = nonsense', "syntax error in connection string (x.ini:3): expected 'key=value'"],
])('the database %j is refused', async (line, message) => {
  await expect(load('databases', line)).rejects.toThrow(expect.objectContaining({ message, file: 'x.ini', line: 3 }))
})

test('no mistake in a line shows the password in it', async () => {
  for (const line of [
    'password=53cret port=x',
    'port=1password=53cret',
    "password='x 53cret",
    'password=a 53cret=b',
    'postgres://u:53cret@h:x/',
  ]) {
    const error: unknown = await load('databases', `a = ${line}`).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).not.toContain('53cret')
  }
})

test('all keys of a user are read; 0 leaves a limit or timeout to the next level', async () => {
  const line = `u = pool_mode=session pool_size=1 reserve_pool_size=2 max_user_connections=3 max_user_client_connections=4
    query_timeout=5 query_wait_timeout=0 idle_transaction_timeout=6 transaction_timeout=7 client_idle_timeout=8
    session_state=warn`
  expect((await load('users', line.replace(/\n */g, ' '))).users.get('u')).toEqual({
    name: 'u',
    poolMode: 'session',
    poolSize: 1,
    reservePoolSize: 2,
    maxUserConnections: 3,
    maxUserClientConnections: 4,
    queryTimeout: 5,
    queryWaitTimeout: 0,
    idleTransactionTimeout: 6,
    transactionTimeout: 7,
    clientIdleTimeout: 8,
    sessionState: 'warn',
  })
  const inherited = (await load('users', 'u = max_user_connections=0 query_timeout=0')).users.get('u')
  expect(inherited).toEqual({ name: 'u' })
})

test.each([
  ['u = pool_size', "syntax error in user settings (x.ini:3): expected 'key=value'"],
  [
    'u = max_db_connections=1',
    'unrecognized user parameter: max_db_connections (x.ini:3): did you mean max_user_connections?',
  ],
  ['u = default_pool_size=1', 'unrecognized user parameter: default_pool_size (x.ini:3): here it is pool_size'],
  ['u = query_timeout=x', 'invalid value for query_timeout in configuration (x.ini:3): expected a number of seconds'],
  [`${'u'.repeat(128)} =`, `too long user name: "${'u'.repeat(120)}…" (x.ini:3): at most 127 bytes`],
])('the user %j is refused', async (line, message) => {
  await expect(load('users', line)).rejects.toThrow(expect.objectContaining({ message, file: 'x.ini', line: 3 }))
})

test('peers are read by their id', async () => {
  const { peers } = await load('peers', '1 = host=a\n65535 = host=/tmp port=7 pool_size=2')
  expect([...peers]).toEqual([
    [1, { id: 1, host: 'a', port: 6432 }],
    [65535, { id: 65535, host: '/tmp', port: 7, poolSize: 2 }],
  ])
})

test.each([
  ['0 = host=a', 'ids of peers must be a number from 1 to 65535 (x.ini:3)'],
  ['65536 = host=a', 'ids of peers must be a number from 1 to 65535 (x.ini:3)'],
  ['one = host=a', 'ids of peers must be a number from 1 to 65535 (x.ini:3)'],
  ['1 = port=1', 'host was not provided for peer 1 (x.ini:3)'],
  ['1 = host=a dbname=x', 'unrecognized connection parameter: dbname (x.ini:3)'],
])('the peer %j is refused', async (line, message) => {
  await expect(load('peers', line)).rejects.toThrow(expect.objectContaining({ message, file: 'x.ini', line: 3 }))
})
