# libpq as pgbench uses it, in all three query modes: many clients on few servers, pipelines, transactions that fail.

. ./report.sh

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# bench MODE SCRIPT: 20 clients, 50 transactions each; all must succeed. A thread each: one that prepares a statement waits
# for it, and lets no other client of its thread end the transaction that has the server.
bench() {
  pgbench --no-vacuum --protocol "$1" --client 20 --jobs 20 --transactions 50 --file "$2" >"$folder/out" 2>&1 || {
    cat "$folder/out"
    return 1
  }
  grep -q 'number of transactions actually processed: 1000/1000' "$folder/out"
}

# Each answer must be what this client asked: a division by zero ends it.
cat >"$folder/shared" <<'SQL'
\set n random(1, 1000000)
SELECT :client_id AS me, :n + 1 AS more \gset
\set good 1 / (case when :me = :client_id and :more = :n + 1 then 1 else 0 end)
BEGIN;
SELECT :n - 1 AS less \gset
END;
\set good 1 / (case when :less = :n - 1 then 1 else 0 end)
SQL

cat >"$folder/pipeline" <<'SQL'
\set n random(1, 1000000)
\startpipeline
SELECT :n;
SELECT :n * 2 AS twice;
BEGIN;
INSERT INTO items VALUES (:client_id, 'of pgbench') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
COMMIT;
SELECT :client_id;
\endpipeline
SELECT :n AS got \gset
\set good 1 / (case when :got = :n then 1 else 0 end)
SQL

cat >"$folder/error" <<'SQL'
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE items SET name = 'of ' || :client_id WHERE id = 1000;
END;
SQL

check_shared() {
  for mode in simple extended prepared; do bench "$mode" "$folder/shared"; done
}

check_batch() {
  for mode in extended prepared; do bench "$mode" "$folder/pipeline"; done
}

# Transactions that can't be serialised fail, are rolled back, and are tried again.
check_error() {
  psql --no-psqlrc --quiet -c "INSERT INTO items VALUES (1000, 'at first')"
  for mode in simple extended prepared; do
    pgbench --no-vacuum --protocol "$mode" --client 20 --jobs 20 --transactions 5 --max-tries 1000 --file "$folder/error" >"$folder/out" 2>&1
    grep -q 'number of transactions actually processed: 100/100' "$folder/out" || {
      cat "$folder/out"
      return 1
    }
  done
}

for name in shared batch error; do check "$name"; done
exit "$failed"
