# To be sourced: runs checks, each with a time limit, and says how each went.

limit=60 # seconds a check
failed=0

# check NAME: runs the function check_NAME, in which every command must succeed; `ok NAME`, or `not ok NAME: why`.
check() {
  log=$(mktemp)
  # Not in a condition: there -e has no effect.
  (set -e; "check_$1") >"$log" 2>&1 &
  job=$!
  (sleep "$limit"; kill "$job") 2>/dev/null &
  watch=$!
  if wait "$job"; then
    echo "ok $1"
  else
    failed=1
    echo "not ok $1: $(tr '\n' ' ' <"$log")"
  fi
  kill "$watch" 2>/dev/null
  wait "$watch" 2>/dev/null
  rm -f "$log"
}

# equal GOT EXPECTED
equal() {
  if [ "$1" != "$2" ]; then
    echo "got '$1', not '$2'" >&2
    return 1
  fi
}

# ask [OPTIONS]: the answers to the SQL on standard input or in -c, bare, on one line.
ask() {
  psql --no-psqlrc --quiet --tuples-only --no-align --set VERBOSITY=sqlstate "$@" 2>&1 | tr '\n' ' ' | sed 's/ $//'
}
