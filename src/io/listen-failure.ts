// Why we cannot listen, as sentences that name the setting, with what to do about it.

/**
 * An error that says all that is to be said, marked as the system's own are by its call.
 * @param cause what the system said; its code is kept
 */
export function refused(text: string, cause?: NodeJS.ErrnoException): Error {
  const marks = { syscall: 'listen', ...(cause?.code !== undefined && { code: cause.code }) }
  return Object.assign(new Error(text, { cause }), marks)
}

/** @param host as configured; undefined is every address */
export function tcpFailure(error: NodeJS.ErrnoException, host: string | undefined, port: number): Error {
  const place = `port ${port} of ${host ?? 'this machine'}`
  // In pgbouncer's words, as far as it has some.
  if (error.syscall === 'getaddrinfo') {
    return refused(
      `getaddrinfo('${host}', '${port}') = ${error.code} (listen_addr): name an address of this machine, or * for all`,
      error,
    )
  }
  switch (error.code) {
    case 'EADDRINUSE':
      return refused(`listen_addr: ${place} is in use: end what listens there, or set another listen_port`, error)
    case 'EACCES':
      return refused(
        `listen_addr: ${place} is not for this user: set a listen_port above 1023, or give the process CAP_NET_BIND_SERVICE`,
        error,
      )
    case 'EADDRNOTAVAIL':
      return refused(`listen_addr: ${host} is no address of this machine: name one that it has, or * for all`, error)
    default:
      return refused(`listen_addr: cannot listen at ${place}: ${error.message}`, error)
  }
}

/** The folder is there. */
export function unixFailure(error: NodeJS.ErrnoException, folder: string, path: string): Error {
  switch (error.code) {
    case 'EADDRINUSE':
      return refused(
        `unix_socket_dir: ${path} is there already, and is no socket: remove it, or set another folder`,
        error,
      )
    case 'EACCES':
    case 'EROFS':
    case 'EPERM':
      return refused(`unix_socket_dir: this user may not write to ${folder}: let it, or set another folder`, error)
    default:
      return refused(`unix_socket_dir: cannot listen at ${path}: ${error.message}`, error)
  }
}
