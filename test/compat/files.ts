// Configuration files, right and wrong, that a pooler is started with; `DIR` and `PORT` are filled in.

/** Of a file that would start a pooler. */
export const main = '[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = PORT\nunix_socket_dir =\n'

const cannotLoad = ['exit code 1', 'FATAL cannot load config file']
const cannotOpen = (setting: string) => [
  'exit code 1',
  `FATAL could not open ${setting} DIR/absent: no such file or directory`,
]

export interface File {
  readonly ini: string
  /** Where that is wanted to differ: `up`, or the exit code and the last word. */
  readonly ours?: readonly string[]
  /** The version of pgbouncer that took it first; older ones are left out. */
  readonly since?: string
}

export const files: Readonly<Record<string, File>> = {
  'nothing but the main section': { ini: main },
  'an auth_file that is not there': { ini: `${main}auth_file = DIR/absent\n`, ours: cannotOpen('auth_file') },
  'an HBA file that is not there': {
    ini: `${main}auth_type = hba\nauth_hba_file = DIR/absent\n`,
    ours: cannotOpen('auth_hba_file'),
  },
  'an unknown auth_type': { ini: `${main}auth_type = nonsense\n` },
  'an unknown pool_mode': { ini: `${main}pool_mode = nonsense\n` },
  'a word for a boolean': { ini: `${main}log_connections = yes\n` },
  'an octal number': { ini: `${main}default_pool_size = 010\n` },
  'a time with a unit': { ini: `${main}query_timeout = 5s\n` },
  'a time below 0': { ini: `${main}query_timeout = -5\n` },
  'the console as auth_dbname': { ini: `${main}auth_dbname = pgbouncer\n` },
  'TLS without a certificate': { ini: `${main}client_tls_sslmode = require\n`, ours: cannotLoad },
  'an unknown sslmode': { ini: `${main}client_tls_sslmode = nonsense\n` },
  'an unknown TLS protocol': { ini: `${main}client_tls_protocols = nonsense\n`, ours: cannotLoad },
  'a certificate that is not there': {
    ini: `${main}client_tls_sslmode = require\nclient_tls_key_file = DIR/absent\nclient_tls_cert_file = DIR/absent\n`,
    ours: cannotOpen('client_tls_cert_file'),
  },
  'a user that is not there': { ini: `${main}user = no_such_user_here\n` },
  'a log file that cannot be': {
    ini: `${main}logfile = DIR/absent/log\n`,
    ours: ['exit code 1', "FATAL Cannot open logfile: 'DIR/absent/log': no such file or directory"],
  },
  'a pid file that cannot be': { ini: `${main}pidfile = DIR/absent/pid\n` },
  'an address that is none': { ini: main.replace('127.0.0.1', '300.1.2.3') },
  'a peer_id that is too large': { ini: `${main}peer_id = 20000\n`, ours: cannotLoad, since: '1.24' },
  'a section twice': { ini: `${main}default_pool_size = 5\n[pgbouncer]\nlisten_port = PORT\nunix_socket_dir =\n` },
  'an include': { ini: `${main}%include DIR/absent.ini\n` },
  'an include without a blank': { ini: `${main}%includeDIR/absent.ini\n` },
  'a comment behind a value': { ini: `${main}default_pool_size = 5 ; five\n` },
  'blanks and comments': { ini: `\n ; one\n# two\n  ${main}  default_pool_size  =  5  \n` },
  'a key without a value': { ini: `${main}default_pool_size\n` },
  'an empty value': { ini: `${main}default_pool_size =\n` },
  'an entry without a value': { ini: `[databases]\napp =\n${main}` },
  'a key with an empty value': { ini: `[databases]\napp = host=h password=\n${main}` },
  'an empty value in quotes': { ini: `[databases]\napp = host=h password=''\n${main}` },
  'a quote that is open': { ini: `[databases]\napp = host='h\n${main}` },
  'a quote within quotes': { ini: `[databases]\napp = host=h password='a''b'\n${main}` },
  'blanks around =': { ini: `[databases]\napp = host = h port = 5432\n${main}` },
  'a tab between keys': { ini: `[databases]\napp = host=h\tport=5432\n${main}`, ours: cannotLoad },
  'keys in capitals': { ini: `[databases]\napp = HOST=h\n${main}` },
  'a key twice': { ini: `[databases]\napp = host=a host=b\n${main}` },
  'a port that is none': { ini: `[databases]\napp = host=h port=many\n${main}` },
  'a port that is too large': { ini: `[databases]\napp = host=h port=99999\n${main}`, ours: cannotLoad },
  'a pool size that is none': { ini: `[databases]\napp = host=h pool_size=many\n${main}`, ours: cannotLoad },
  'a pool_mode of a database that is none': { ini: `[databases]\napp = host=h pool_mode=nonsense\n${main}` },
  'an auth_query without quotes': { ini: `[databases]\napp = host=h auth_query=select 1\n${main}` },
  'a name in single quotes': { ini: `[databases]\n'my app' = host=h\n${main}`, since: '1.26' },
  'a name in double quotes': { ini: `[databases]\n"my app" = host=h\n${main}`, ours: ['up'] },
  'a name with a blank': { ini: `[databases]\nmy app = host=h\n${main}` },
  'a name of 64 bytes': { ini: `[databases]\n${'d'.repeat(64)} = host=h\n${main}` },
  'an unknown key of a user': { ini: `[users]\nsam = colour=red\n${main}` },
  'a timeout of a user that is none': {
    ini: `[users]\nsam = query_timeout=many\n${main}`,
    ours: cannotLoad,
    since: '1.24',
  },
  'a peer without host': { ini: `[peers]\n1 = port=5432\n${main}` },
  'a peer with a name': { ini: `[peers]\none = host=h\n${main}` },
  'a peer of number 0': { ini: `[peers]\n0 = host=h\n${main}` },
}
