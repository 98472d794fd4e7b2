# libpq as psql uses it: simple queries, \gdesc, cursors, \copy, Ctrl-C, PREPARE in SQL.

. ./report.sh

check_connect() {
  equal "$(ask -c 'SELECT current_user')" scram_user
  case $(PGPASSWORD=wrong ask -c 'SELECT 1') in
    *FATAL*) ;;
    *) false ;;
  esac
}

check_types() {
  row="1, true, -32768, 2147483647, -9223372036854775808, 1.5, -1e300, 12345678901234567890.123456789,
    E'naïve ''quoted'' \\\\ text ☃', '', 'abc', '\\x00015c27ff', '2024-02-29', '23:59:59.123456',
    '1999-12-31 23:59:59.999999', '2024-02-29 12:00:00+00', '3 days 4.000005', '00112233-4455-6677-8899-aabbccddeeff',
    '{\"n\": [1, null]}', '{\"ü\": 1}', '192.168.0.1/24', '{1,-2,3}', '{a,\"with, comma\"}', 'glad'"
  ask -c "INSERT INTO basic_types VALUES ($row)" -c "INSERT INTO basic_types (id) VALUES (2)"
  equal "$(ask -c 'SET timezone = UTC; SELECT * FROM basic_types ORDER BY id')" \
    '1|t|-32768|2147483647|-9223372036854775808|1.5|-1e+300|12345678901234567890.123456789|naïve '"'quoted'"' \ text ☃||abc  |\x00015c27ff|2024-02-29|23:59:59.123456|1999-12-31 23:59:59.999999|2024-02-29 12:00:00+00|3 days 00:00:04.000005|00112233-4455-6677-8899-aabbccddeeff|{"n": [1, null]}|{"ü": 1}|192.168.0.1/24|{1,-2,3}|{a,"with, comma"}|glad 2|||||||||||||||||||||||'
  equal "$(echo 'SELECT id, a_mood FROM basic_types \gdesc' | ask)" 'id|integer a_mood|mood'
}

check_shared() {
  folder=$(mktemp -d)
  for who in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    {
      echo "PREPARE same(int) AS SELECT $who, \$1;"
      for n in 1 2 3 4 5; do echo "EXECUTE same($n);"; done
    } | ask >"$folder/$who" &
    jobs="$jobs $!"
  done
  wait $jobs
  for who in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    equal "$(cat "$folder/$who")" "$who|1 $who|2 $who|3 $who|4 $who|5"
  done
  rm -r "$folder"
}

check_batch() {
  # Several statements in one Query, an error half way: all of it is one transaction.
  equal "$(ask -c 'SELECT 1; SELECT 2')" '1 2'
  equal "$(ask -c "INSERT INTO items VALUES (1, 'one'); SELECT 1 / 0; SELECT 3")" 'ERROR:  22012'
  equal "$(ask -c 'SELECT count(*) FROM items')" 0
  equal "$(ask -c 'BEGIN; SELECT 1; COMMIT AND CHAIN; SELECT 2; COMMIT')" '1 2'
  # By a cursor, in parts.
  equal "$(echo 'SELECT sum(n) FROM generate_series(1, 100) AS n' | ask --set FETCH_COUNT=7)" 5050
  equal "$(echo 'SELECT generate_series(1, 1000)' | ask --set FETCH_COUNT=7 | wc -w | tr -d ' ')" 1000
  equal "$(ask --single-transaction -c 'SELECT 1' -c 'SELECT 2')" '1 2'
}

check_copy() {
  rows=$(mktemp)
  seq 1 20000 | sed 's/.*/&\tname &/' >"$rows"
  ask -c "\\copy items FROM '$rows'"
  psql --no-psqlrc --quiet -c 'COPY (SELECT * FROM items ORDER BY id) TO STDOUT' | cmp - "$rows"
  equal "$(ask -c "\\copy items FROM '$rows'")" 'ERROR:  23505'
  equal "$(printf '30001\tgood\nbad\n' | ask -c 'COPY items FROM STDIN')" 'ERROR:  22P02'
  # In the middle of several statements.
  equal "$(printf '30001\tgood\n' | ask -c 'SELECT 1; COPY items FROM STDIN; SELECT count(*) FROM items')" '1 20001'
  psql --no-psqlrc --quiet -c 'COPY (SELECT generate_series(1, 1000000)) TO STDOUT' | head -1 >/dev/null # leaves half way
  equal "$(ask -c 'SELECT count(*) FROM items; TRUNCATE items')" 20001
  rm "$rows"
}

check_cancel() {
  running="SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
  answer=$(mktemp)
  psql --no-psqlrc --quiet --tuples-only --set VERBOSITY=sqlstate -c 'SELECT pg_sleep(60)' >"$answer" 2>&1 &
  sleeper=$!
  until [ "$(ask -c "$running")" = 1 ]; do :; done
  kill -INT "$sleeper"
  wait "$sleeper" || true
  equal "$(tr -d '\n' <"$answer" | tr -s ' ')" "Cancel request sentERROR: 57014"
  equal "$(ask -c "$running")" 0
  rm "$answer"
}

check_error() {
  equal "$(ask <<'SQL'
BEGIN;
INSERT INTO items VALUES (1, 'one');
SAVEPOINT here;
SELECT 1 / 0;
SELECT 1;
ROLLBACK TO here;
SELECT name FROM items;
ROLLBACK;
SELECT count(*) FROM items;
SQL
)" 'ERROR:  22012 ERROR:  25P02 one 0'
  equal "$(ask --set ON_ERROR_ROLLBACK=on <<'SQL'
BEGIN;
SELECT 1 / 0;
SELECT 1;
COMMIT;
SQL
)" 'ERROR:  22012 1'
}

check_reconnect() {
  case $(ask -c 'BEGIN' -c 'SELECT pg_terminate_backend(pg_backend_pid())') in
    *57P01*) ;;
    *) false ;;
  esac
  equal "$(ask -c 'SELECT 1')" 1
  # \connect, to the same database.
  equal "$(printf '\\connect\nSELECT 2;\n' | ask)" 2
}

check_sql() {
  # Other clients take turns with this one, so that it does not keep one server.
  equal "$(ask <<'SQL'
PREPARE twice(int) AS SELECT $1 * 2;
EXECUTE twice(21);
\! psql -qc 'SELECT pg_sleep(0.2)' >/dev/null &
EXECUTE twice(22);
PREPARE twice AS SELECT 1;
DEALLOCATE twice;
EXECUTE twice(23);
PREPARE twice(int) AS SELECT $1 + 2;
EXECUTE twice(24);
DEALLOCATE ALL;
EXECUTE twice(25);
DISCARD ALL;
SELECT 1;
SQL
)" '42 44 ERROR:  42P05 ERROR:  26000 26 ERROR:  26000 1'
}

for name in connect types shared batch copy cancel error reconnect sql; do check "$name"; done
exit "$failed"
