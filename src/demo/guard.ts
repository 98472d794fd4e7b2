// Ends the embedded servers should our own process be killed without a chance to do so itself.

import { spawn } from 'node:child_process'
import { childOptions } from './program.js'
import type { ServerUser } from './server-user.js'

export interface Guard {
  /** All has been stopped in good order: the guard ends and does nothing. */
  release(): Promise<void>
}

export interface Guarded {
  /** Folders of data: the servers that run in them, now or later, are watched over. */
  readonly data: readonly string[]
  /** A folder to remove after that, or undefined. */
  readonly remove: string | undefined
  readonly user: ServerUser | undefined
}

// Its standard input is a pipe that our process alone holds open: the end of it, without the word, is our death.
// A server's own pid file says which process to end, so a stopped one's number is never used.
const script = `
read -r word
[ "$word" = done ] && exit 0
remove=$1
shift
for data do
  read -r pid <"$data/postmaster.pid" && kill -INT "$pid"
done
tries=0
for data do
  while [ -e "$data/postmaster.pid" ] && [ $tries -lt 20 ]; do sleep 1; tries=$((tries + 1)); done
done
[ -n "$remove" ] || exit 0
rm -rf -- "$remove"
sleep 1 # an initdb without a parent may have been writing
rm -rf -- "$remove"
`

export function startGuard({ data, remove, user }: Guarded): Guard {
  const child = spawn('/bin/sh', ['-c', script, 'guard', remove ?? '', ...data], {
    ...childOptions(user),
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Without a guard the demo works all the same.
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()))
  child.stdin?.on('error', () => {})
  return {
    release() {
      child.stdin?.end('done\n')
      return ended
    },
  }
}
