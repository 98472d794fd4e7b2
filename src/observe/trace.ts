// What happens to clients and servers, for whoever subscribes to it with node:diagnostics_channel: names and payloads.

import { type Channel, channel } from 'node:diagnostics_channel'

/** A client, as far as it has said who it is. */
export interface TracedClient {
  /** SHOW's `ptr`, and the name in log lines: `0x5500000000a0`. */
  readonly client: string
  /** `10.0.0.1:51234`, or `unix`. */
  readonly address: string
  /** What it has asked for at login; `(nodb)` and `(nouser)` before. */
  readonly database: string
  readonly user: string
  /** '' where it has none. */
  readonly applicationName: string
}

/** A connection to a server. */
export interface TracedServer {
  /** SHOW's `ptr`, and the name in log lines. */
  readonly server: string
  /** `10.0.0.9:5432`, `unix:5432`, or `(nohost)` before that is known. */
  readonly address: string
  readonly database: string
  readonly user: string
}

/** A connection has ended. */
export interface TracedClose {
  /** One of the names of SHOW CLOSES. */
  readonly reason: string
  /** How long the connection was there, milliseconds. */
  readonly ageMs: number
}

/** All that a client sent has been answered: one exchange, or several that were sent without waiting. */
export interface TracedExchange {
  readonly client: string
  readonly server: string
  /** From when the client had the server until the answer was complete, milliseconds. */
  readonly durationMs: number
  /** How long the client waited for the server before; 0 where it had it already. */
  readonly waitMs: number
  /** What the server says of the transaction: there is none, it is open, or it has failed. */
  readonly status: 'idle' | 'transaction' | 'failed'
}

/** A CancelRequest has been dealt with. */
export interface TracedCancel {
  /** Whence it came. */
  readonly address: string
  /** Whom it was for; undefined where nobody here has its key. */
  readonly client: string | undefined
  /** The server that it was passed on to, if one was working for the client. */
  readonly server: string | undefined
  /** One of the names of SHOW CLOSES: `cancel_sent`, `cancel_idle` and so on. */
  readonly outcome: string
}

/** A host of entries with `target_session_attrs` is something else than before. */
export interface TracedHost {
  /** Its name in SHOW HOSTS: `10.0.0.9:5432`. */
  readonly host: string
  readonly state: 'unknown' | 'up' | 'starting' | 'down'
  /** By its own word. */
  readonly role: 'primary' | 'standby' | 'unknown'
  readonly before: { readonly state: TracedHost['state']; readonly role: TracedHost['role'] }
}

/** Writes go to another host than before. */
export interface TracedFailover {
  /** All hosts that it may be: `10.0.0.8:5432,10.0.0.9:5432`. */
  readonly hosts: string
  readonly from: string
  readonly to: string
}

/** Payloads by the names of channels. There is no text of SQL in them, and no parameter but application_name. */
export interface TraceEvents {
  /** A connection was accepted; it has said nothing yet. */
  readonly 'tsbouncer:client.connect': TracedClient
  /** A client has been welcomed. */
  readonly 'tsbouncer:client.login': TracedClient
  readonly 'tsbouncer:client.close': TracedClient & TracedClose
  /** A server has logged in. `durationMs`: since the connection was begun. */
  readonly 'tsbouncer:server.connect': TracedServer & { readonly durationMs: number }
  readonly 'tsbouncer:server.close': TracedServer & TracedClose
  readonly 'tsbouncer:exchange': TracedExchange
  readonly 'tsbouncer:cancel': TracedCancel
  readonly 'tsbouncer:host': TracedHost
  readonly 'tsbouncer:failover': TracedFailover
}

/** To be asked for subscribers before a payload is made. */
class TraceChannel<Event> {
  private readonly channel: Channel

  constructor(name: string) {
    this.channel = channel(name)
  }

  get hasSubscribers(): boolean {
    return this.channel.hasSubscribers
  }

  /** Subscribers hear of it in a moment, when nothing is half done: they may well close the client that they hear of. */
  publish(event: Event): void {
    queueMicrotask(() => this.channel.publish(event))
  }
}

function traceChannel<Name extends keyof TraceEvents>(name: Name): TraceChannel<TraceEvents[Name]> {
  return new TraceChannel(name)
}

export const clientConnects = traceChannel('tsbouncer:client.connect')
export const clientLogins = traceChannel('tsbouncer:client.login')
export const clientCloses = traceChannel('tsbouncer:client.close')
export const serverConnects = traceChannel('tsbouncer:server.connect')
export const serverCloses = traceChannel('tsbouncer:server.close')
export const exchanges = traceChannel('tsbouncer:exchange')
export const cancels = traceChannel('tsbouncer:cancel')
export const hostChanges = traceChannel('tsbouncer:host')
export const failovers = traceChannel('tsbouncer:failover')
