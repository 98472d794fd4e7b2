// A client that a pool serves, and its server.

import type { ConfigInput } from '../../src/config/input.js'
import { Heart, type HeartClient } from '../harness/heart.js'
import type { RigServer } from '../relay/relay-rig.js'

export interface Scene {
  readonly heart: Heart
  readonly client: HeartClient
  readonly server: RigServer
}

export async function scene(settings: ConfigInput['pgbouncer'] = {}): Promise<Scene> {
  const heart = await Heart.open(settings)
  const client = await heart.connect()
  return { heart, client, server: heart.servers[0]! }
}

/** The client sends this, and it is answered. */
export function answered({ heart, client }: Scene, ...messages: Buffer[]): void {
  client.send(...messages)
  heart.settle()
}

/** The same; gives what the client has heard by then. */
export function exchange(scene: Scene, ...messages: Buffer[]): string[] {
  answered(scene, ...messages)
  return scene.client.heard()
}

export const isHeld = ({ client, server }: Scene): boolean => client.served.server === server.session
