// What servers call the values that clients asked for: remembered, so that each is asked about once.

/** How much is remembered for a pool, characters. */
const mostRemembered = 64 * 1024

/** When there is too much, all is forgotten. */
export class Spellings {
  private readonly known = new Map<string, string>()
  private size = 0

  get(name: string, value: string): string | undefined {
    return this.known.get(`${name}\0${value}`)
  }

  set(name: string, value: string, spelling: string): void {
    if (this.size > mostRemembered) {
      this.known.clear()
      this.size = 0
    }
    this.known.set(`${name}\0${value}`, spelling)
    this.size += name.length + value.length + spelling.length + 64
  }
}
