// Before each test file: with FC_SEED, and FC_PATH, its property tests begin with what had failed, and with nothing else.

const { FC_SEED, FC_PATH } = process.env

if (FC_SEED !== undefined) {
  const { default: fc } = await import('fast-check')
  fc.configureGlobal({ seed: Number(FC_SEED), ...(FC_PATH !== undefined && { path: FC_PATH, endOnFailure: true }) })
}

export {}
