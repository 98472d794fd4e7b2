// pgx v5 as it comes: statements prepared and cached for each connection, batches, COPY in binary.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	. "tsbouncer.test/drivers/report"
)

func main() {
	Run(
		Check{"connect", connect}, Check{"types", types}, Check{"prepared", prepared}, Check{"shared", shared},
		Check{"batch", batch}, Check{"copy", copyBothWays}, Check{"cancel", cancel}, Check{"error", errorInTransaction},
		Check{"reconnect", reconnect}, Check{"altered", altered},
	)
}

// The environment says where.
func open(ctx context.Context) *pgx.Conn {
	return Value(pgx.Connect(ctx, ""))
}

func one[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) T {
	return Value(pgx.CollectExactlyOneRow(Value(conn.Query(ctx, sql, args...)), pgx.RowTo[T]))
}

func all[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) []T {
	return Value(pgx.CollectRows(Value(conn.Query(ctx, sql, args...)), pgx.RowTo[T]))
}

func exec(ctx context.Context, conn *pgx.Conn, sql string, args ...any) {
	Value(conn.Exec(ctx, sql, args...))
}

func connect(ctx context.Context) {
	conn := open(ctx)
	defer conn.Close(ctx)
	Equal(one[string](ctx, conn, "SELECT current_user::text"), "scram_user")
	config := Value(pgx.ParseConfig(""))
	config.Password = "wrong"
	_, err := pgx.ConnectConfig(ctx, config)
	Fails(err, "authentication failed")
}

func types(ctx context.Context) {
	conn := open(ctx)
	defer conn.Close(ctx)
	mood := Value(conn.LoadType(ctx, "mood"))
	conn.TypeMap().RegisterType(mood)
	var numeric pgtype.Numeric
	Must(numeric.Scan("12345678901234567890.123456789"))
	values := map[string]any{
		"a_bool": true, "a_int2": int16(-32768), "a_int4": int32(2147483647), "a_int8": int64(-9223372036854775808),
		"a_float4": float32(1.5), "a_float8": -1e300, "a_numeric": numeric,
		"a_text": "naïve 'quoted' \\ text ☃ \n", "a_varchar": "", "a_char": "abc  ", "a_bytea": []byte{0, 1, '\\', '\'', 255},
		"a_date":      time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		"a_time":      pgtype.Time{Microseconds: 86399123456, Valid: true},
		"a_timestamp": time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		"a_interval":  pgtype.Interval{Days: 3, Microseconds: 4000005, Valid: true},
		"a_uuid":      [16]byte{0, 0x11, 0x22}, "a_json": map[string]any{"n": []any{1.0, nil}}, "a_jsonb": map[string]any{"ü": 1.0},
		"a_inet": netip.MustParsePrefix("192.168.0.1/24"), "a_ints": []any{int32(1), int32(-2)},
		"a_texts": []any{"a", "with, comma", "\"quoted\"", ""}, "a_mood": "glad",
	}
	var columns, places []string
	row, nulls := []any{1}, []any{2}
	for column, value := range values {
		columns = append(columns, column)
		places = append(places, fmt.Sprintf("$%d", len(columns)+1))
		row, nulls = append(row, value), append(nulls, nil)
	}
	list := strings.Join(columns, ", ")
	insert := fmt.Sprintf("INSERT INTO basic_types (id, %s) VALUES ($1, %s)", list, strings.Join(places, ", "))
	exec(ctx, conn, insert, row...)
	exec(ctx, conn, insert, nulls...)
	for id, expected := range map[int][]any{1: row, 2: nulls} {
		rows := Value(conn.Query(ctx, "SELECT "+list+" FROM basic_types WHERE id = $1", id))
		found := Value(pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() }))
		for i, column := range columns {
			if fmt.Sprint(found[i]) != fmt.Sprint(expected[i+1]) {
				panic(fmt.Errorf("%s: got %v, not %v", column, found[i], expected[i+1]))
			}
		}
	}
	large := strings.Repeat("ü", 3_000_000)
	Equal(one[string](ctx, conn, "SELECT $1::text", large) == large, true)
}

// Calls use with each of the two servers as the only one that is free.
func onEachServer(ctx context.Context, use func(pid int32)) {
	var holders [2]*pgx.Conn
	var pids [2]int32
	for i := range holders {
		holders[i] = open(ctx)
		defer holders[i].Close(ctx)
		exec(ctx, holders[i], "BEGIN")
		pids[i] = one[int32](ctx, holders[i], "SELECT pg_backend_pid()")
	}
	Equal(pids[0] != pids[1], true)
	for i, holder := range holders {
		exec(ctx, holder, "ROLLBACK")
		use(pids[i])
		exec(ctx, holder, "BEGIN")
	}
}

func prepared(ctx context.Context) {
	conn := open(ctx)
	defer conn.Close(ctx)
	Value(conn.Prepare(ctx, "twice", "SELECT array[$1::int * 2, pg_backend_pid()]"))
	onEachServer(ctx, func(pid int32) {
		Equal(one[[]int32](ctx, conn, "twice", pid), []int32{pid * 2, pid})
		Equal(one[int32](ctx, conn, "SELECT $1::int + 1", pid), pid+1) // from the cache
	})
	Must(conn.Deallocate(ctx, "twice"))
	Value(conn.Prepare(ctx, "twice", "SELECT $1::int + 2"))
	Equal(one[int32](ctx, conn, "twice", 40), int32(42))
}

func shared(ctx context.Context) {
	var group sync.WaitGroup
	problems := make(chan any, 20)
	for who := range 20 {
		group.Go(func() {
			defer func() {
				if problem := recover(); problem != nil {
					problems <- problem
				}
			}()
			conn := open(ctx)
			defer conn.Close(ctx)
			Value(conn.Prepare(ctx, "same", fmt.Sprintf("SELECT array[%d, $1::int]", who%4)))
			for n := range int32(50) {
				Equal(one[[]int32](ctx, conn, "same", n), []int32{int32(who % 4), n})
			}
		})
	}
	group.Wait()
	close(problems)
	for problem := range problems {
		panic(problem)
	}
}

func batch(ctx context.Context) {
	conn := open(ctx)
	defer conn.Close(ctx)
	several := &pgx.Batch{}
	for n := range 100 {
		several.Queue("INSERT INTO items VALUES ($1, $2)", n, fmt.Sprint("name ", n))
		several.Queue("SELECT $1::int", n)
	}
	results := conn.SendBatch(ctx, several)
	for n := range 100 {
		Value(results.Exec())
		var got int
		Must(results.QueryRow().Scan(&got))
		Equal(got, n)
	}
	Must(results.Close())
	failing := &pgx.Batch{}
	failing.Queue("DELETE FROM items")
	failing.Queue("SELECT 1 / $1::int", 0)
	failing.Queue("SELECT 1 / $1::int", 1)
	Fails(conn.SendBatch(ctx, failing).Close(), "22012")
	Equal(one[int64](ctx, conn, "SELECT count(*) FROM items"), int64(100)) // all of a batch is one transaction

	pipeline := conn.PgConn().StartPipeline(ctx)
	pipeline.SendPrepare("piped", "SELECT 10 / $1::int", nil)
	for _, n := range []string{"1", "0", "2"} {
		pipeline.SendQueryPrepared("piped", [][]byte{[]byte(n)}, nil, nil)
		Must(pipeline.Sync())
	}
	var got []string
	for {
		result, err := pipeline.GetResults()
		if result == nil && err == nil {
			break
		}
		if reader, is := result.(*pgconn.ResultReader); is {
			rows := reader.Read()
			err = rows.Err
			if err == nil {
				got = append(got, string(rows.Rows[0][0]))
			}
		}
		if problem, is := err.(*pgconn.PgError); is {
			got = append(got, problem.Code)
		}
	}
	Equal(got, []string{"10", "22012", "5"})
	Must(pipeline.Close())
	exec(ctx, conn, "TRUNCATE items")
}

func copyBothWays(ctx context.Context) {
	conn := open(ctx)
	defer conn.Close(ctx)
	row := func(i int) ([]any, error) { return []any{i, strings.Repeat(fmt.Sprintf("näme\t%d\n", i), 20)}, nil }
	count := Value(conn.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromSlice(5000, row)))
	Equal(count, int64(5000))
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromSlice(5000, row))
	Fails(err, "23505")
	var out bytes.Buffer
	Value(conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT id FROM items ORDER BY id) TO STDOUT"))
	Equal(strings.Count(out.String(), "\n"), 5000)
	_, err = conn.PgConn().CopyFrom(ctx, strings.NewReader("6000\tgood\nnot a number\tbad\n"), "COPY items FROM STDIN")
	Fails(err, "22P02")
	Equal(one[int64](ctx, conn, "SELECT count(*) FROM items"), int64(5000))
	exec(ctx, conn, "TRUNCATE items")
}

func cancel(ctx context.Context) {
	conn, watcher := open(ctx), open(ctx)
	defer conn.Close(ctx)
	defer watcher.Close(ctx)
	running := "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
	cancelled := make(chan error)
	go func() {
		for one[int64](ctx, watcher, running) == 0 {
		}
		cancelled <- conn.PgConn().CancelRequest(ctx)
	}()
	_, err := conn.Exec(ctx, "SELECT pg_sleep(60)")
	Fails(err, "57014")
	Must(<-cancelled)
	Equal(one[int32](ctx, conn, "SELECT 1"), int32(1))
	// A context that ends: pgx cancels, and gives the connection up.
	short, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	_, err = conn.Exec(short, "SELECT pg_sleep(60)")
	Fails(err, "timeout")
	for one[int64](ctx, watcher, running) != 0 {
	}
}

func errorInTransaction(ctx context.Context) {
	conn := open(ctx)
	defer conn.Close(ctx)
	transaction := Value(conn.Begin(ctx))
	Value(transaction.Exec(ctx, "INSERT INTO items VALUES (1, 'one')"))
	inner := Value(transaction.Begin(ctx)) // a savepoint
	_, err := inner.Exec(ctx, "SELECT 1 / $1::int", 0)
	Fails(err, "22012")
	_, err = inner.Exec(ctx, "SELECT 1")
	Fails(err, "25P02")
	Must(inner.Rollback(ctx))
	Equal(all[string](ctx, conn, "SELECT name FROM items"), []string{"one"})
	Must(transaction.Rollback(ctx))
	Equal(len(all[string](ctx, conn, "SELECT name FROM items")), 0)
}

func reconnect(ctx context.Context) {
	conn := open(ctx)
	exec(ctx, conn, "BEGIN")
	_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
	Fails(err, "57P01")
	Equal(conn.IsClosed(), true)
	pool := Value(pgxpool.New(ctx, "pool_max_conns=10"))
	defer pool.Close()
	var group sync.WaitGroup
	errors := make(chan error, 50)
	for range 50 {
		group.Go(func() {
			var n int
			errors <- pool.QueryRow(ctx, "SELECT $1::int", 1).Scan(&n)
		})
	}
	group.Wait()
	for range 50 {
		Must(<-errors)
	}
}

func altered(ctx context.Context) {
	conn, other := open(ctx), open(ctx)
	defer conn.Close(ctx)
	defer other.Close(ctx)
	// pgx reports the error of a plan gone stale, forgets the statement, and is right the next time.
	ask := func() string {
		var text string
		for try := 0; ; try++ {
			rows := Value(conn.Query(ctx, "SELECT * FROM altered"))
			row, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
			if err == nil {
				text = fmt.Sprint(row)
				break
			}
			fmt.Fprintln(os.Stderr, "altered:", err)
			if try == 2 || !strings.Contains(err.Error(), "0A000") {
				panic(err)
			}
		}
		return text
	}
	onEachServer(ctx, func(int32) { Equal(ask(), "[1]") })
	exec(ctx, other, "ALTER TABLE altered ADD COLUMN b int DEFAULT 2")
	onEachServer(ctx, func(int32) { Equal(ask(), "[1 2]") })
}
