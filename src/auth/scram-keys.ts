// The keys of SCRAM-SHA-256: derived from passwords off the event loop, and remembered so that a storm of logins with
// the same password costs one derivation. RFC 5802 section 3.

import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { inspect, promisify } from 'node:util'
import { bytesOf, isUtf8Text, textOf } from '../protocol/byte-text.js'
import { saslprep } from './saslprep.js'

export const keyLength = 32
/** As PostgreSQL's SCRAM_DEFAULT_SALT_LEN. */
const saltLength = 16

const derive = promisify(pbkdf2)

/**
 * PBKDF2 can't be stopped once begun: this many rounds hold one of the four threads of Node's pool for some 0.2 seconds,
 * 240 times PostgreSQL's default of 4096. Any role can set its own verifier, and a server asks for what it likes.
 */
export const mostIterations = 1_000_000

/** Derivations at a time: files and look-ups of names need threads of the pool, too. */
const mostAtATime = 2

export function hmac(key: Buffer, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const hash = createHmac('sha256', key)
  for (const part of parts) hash.update(part)
  return hash.digest()
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** ClientKey and ServerKey: enough to log in with wherever salt and iterations are the same, so as secret as a password. */
export class ScramKeys {
  readonly #clientKey: Buffer
  readonly #serverKey: Buffer

  constructor(clientKey: Buffer, serverKey: Buffer) {
    this.#clientKey = clientKey
    this.#serverKey = serverKey
  }

  get clientKey(): Buffer {
    return this.#clientKey
  }

  get serverKey(): Buffer {
    return this.#serverKey
  }

  get storedKey(): Buffer {
    return sha256(this.#clientKey)
  }

  [inspect.custom](): string {
    return 'ScramKeys [hidden]'
  }
}

/** What PBKDF2 is given: the password after SASLprep, or its bytes where they are not UTF-8 or SASLprep refuses it. */
function preparedPassword(password: string | Buffer): Buffer {
  const text = typeof password === 'string' ? password : textOf(password)
  return bytesOf((isUtf8Text(text) ? saslprep(text) : undefined) ?? text)
}

export interface ScramKeyringOptions {
  /** Workers that serve the same clients are given the same one, so that the salts they announce agree. */
  readonly key?: Buffer
  /** How many derivations are remembered (some 400 bytes each); the least recently used go first. */
  readonly capacity?: number
}

/** One per pooler. Remembers under a keyed hash, never under the password itself. */
export class ScramKeyring {
  readonly #key: Buffer
  readonly #capacity: number
  readonly #kept = new Map<string, ScramKeys>()
  readonly #running = new Map<string, Promise<ScramKeys>>()
  #deriving = 0
  readonly #waiting: { readonly iterations: number; readonly begin: () => void }[] = []

  constructor({ key = randomBytes(keyLength), capacity = 4096 }: ScramKeyringOptions = {}) {
    this.#key = key
    this.#capacity = capacity
  }

  /**
   * The salt announced for a user who has no SCRAM secret, be it a plaintext password or no such user at all: the same
   * at each attempt, as a stored secret's would be, so that names can't be probed.
   */
  saltFor(user: string): Buffer {
    return hmac(this.#key, 'salt\0', bytesOf(user)).subarray(0, saltLength)
  }

  /**
   * The keys of a password. Those of a client's guess should be kept only where they turn out to be right
   * (`worthKeeping`), or guessing would push the others out.
   */
  async keysFor(
    password: string | Buffer,
    salt: Buffer,
    iterations: number,
    worthKeeping: (keys: ScramKeys) => boolean = () => true,
  ): Promise<ScramKeys> {
    const prepared = preparedPassword(password)
    const name = hmac(this.#key, `keys\0${iterations}:${salt.length}:`, salt, prepared).toString('base64')
    const keys = this.#kept.get(name) ?? (await this.#share(name, prepared, salt, iterations))
    if (worthKeeping(keys)) this.#keep(name, keys)
    return keys
  }

  #share(name: string, prepared: Uint8Array, salt: Buffer, iterations: number): Promise<ScramKeys> {
    const running = this.#running.get(name)
    if (running !== undefined) return running
    const derived = this.#turn(iterations).then(() => deriveKeys(prepared, salt, iterations))
    const started = derived.finally(() => {
      this.#running.delete(name)
      this.#deriving--
      this.#letNextBegin()
    })
    this.#running.set(name, started)
    return started
  }

  /** Resolves when a derivation may begin: those that take the least time first. */
  #turn(iterations: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ iterations, begin: resolve })
      this.#letNextBegin()
    })
  }

  #letNextBegin(): void {
    if (this.#deriving >= mostAtATime || this.#waiting.length === 0) return
    let cheapest = 0
    for (const [n, { iterations }] of this.#waiting.entries()) {
      if (iterations < this.#waiting[cheapest]!.iterations) cheapest = n
    }
    const [next] = this.#waiting.splice(cheapest, 1)
    this.#deriving++
    next!.begin()
  }

  #keep(name: string, keys: ScramKeys): void {
    this.#kept.delete(name)
    this.#kept.set(name, keys)
    if (this.#kept.size <= this.#capacity) return
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined) this.#kept.delete(oldest)
  }
}

async function deriveKeys(prepared: Uint8Array, salt: Buffer, iterations: number): Promise<ScramKeys> {
  const salted = await derive(prepared, salt, iterations, keyLength, 'sha256')
  return new ScramKeys(hmac(salted, 'Client Key'), hmac(salted, 'Server Key'))
}
