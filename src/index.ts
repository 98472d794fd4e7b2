// The public API, names only.

export type { ShowName, ShowRow } from './admin/tables.js'
export { ConfigError } from './config/config-error.js'
export type { ConfigInput } from './config/input.js'
export { type Config, loadConfig } from './config/load.js'
export { AdminError, type Administration, type HostStatus, type ShutdownMode } from './control/status.js'
export type { Clock } from './observe/clock.js'
export { createLog, type Log, logTo, silentLog } from './observe/log.js'
export type { TraceEvents } from './observe/trace.js'
export { createPooler, type Pooler, type PoolerOptions } from './pooler.js'
export { PgError } from './protocol/errors.js'
