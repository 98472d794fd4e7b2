// Asks the console what the Prometheus community's pgbouncer_exporter asks: the same queries over lib/pq, rows scanned into
// interface{} and numbers read as it reads them; then the same by pgx in its own way, with prepared statements and binary
// results. Prints one JSON object by driver, SHOW and row.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq"
)

// The exporter's namespaces, and what it reads by rows.
var shows = []string{"stats", "stats_totals", "pools", "databases", "lists", "config", "version"}

func main() {
	answers := map[string]map[string][]map[string]string{"pq": {}, "pgx": {}}
	dsn := os.Getenv("DSN")

	db, err := sql.Open("postgres", dsn)
	check(err)
	db.SetMaxOpenConns(1)
	for _, show := range shows {
		answers["pq"][show] = rowsOf(db, fmt.Sprintf("SHOW %s;", show))
	}
	check(db.Close())

	ctx := context.Background()
	connection, err := pgx.Connect(ctx, dsn)
	check(err)
	for range 2 { // the second time the statement is prepared
		for _, show := range shows {
			rows, err := connection.Query(ctx, "SHOW "+show)
			check(err)
			found, err := pgx.CollectRows(rows, pgx.RowToMap)
			check(err)
			answers["pgx"][show] = []map[string]string{}
			for _, row := range found {
				texts := map[string]string{}
				for name, value := range row {
					texts[name] = textOf(value)
				}
				answers["pgx"][show] = append(answers["pgx"][show], texts)
			}
		}
	}
	check(connection.Close(ctx))
	check(json.NewEncoder(os.Stdout).Encode(answers))
}

func rowsOf(db *sql.DB, query string) []map[string]string {
	rows, err := db.Query(query)
	check(err)
	defer rows.Close()
	columns, err := rows.Columns()
	check(err)
	found := []map[string]string{}
	for rows.Next() {
		cells := make([]interface{}, len(columns))
		places := make([]interface{}, len(columns))
		for i := range cells {
			places[i] = &cells[i]
		}
		check(rows.Scan(places...))
		row := map[string]string{}
		for i, name := range columns {
			row[name] = textOf(cells[i])
		}
		found = append(found, row)
	}
	check(rows.Err())
	return found
}

// As the exporter converts: numbers from int64, []byte and string; NULL is nothing.
func textOf(value interface{}) string {
	switch v := value.(type) {
	case nil:
		return "(null)"
	case []byte:
		return string(v)
	case int32:
		return strconv.Itoa(int(v))
	case driver.Valuer: // pgx's numeric
		plain, err := v.Value()
		check(err)
		return fmt.Sprint(plain)
	default:
		return fmt.Sprint(v)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
