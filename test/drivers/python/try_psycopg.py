"""psycopg 3: every statement is prepared when it is first run; pipelines, COPY, both ways to cancel."""

import threading

import psycopg
from psycopg.types.json import Json, Jsonb

from newer_libpq import newer_libpq
from report import equal, raises, report
from values import NULLS, VALUES


def open_connection(**more):
    """To where the environment says."""
    return psycopg.connect("", autocommit=True, prepare_threshold=0, **more)


def connect():
    with open_connection() as connection:
        equal(connection.execute("SELECT current_user::text").fetchone(), ("scram_user",))
    with raises(psycopg.OperationalError):
        open_connection(password="wrong")


def versions():
    """What libpq 18 knows of protocol versions; it takes each as the server says, and finds fault where it may."""
    equal(psycopg.pq.version() >= 180000, True)
    for asked, spoken in (("3.0", 30000), ("3.2", 30002), ("latest", 30002)):
        with open_connection(max_protocol_version=asked, min_protocol_version="3.0") as connection:
            equal(connection.pgconn.full_protocol_version, spoken)
            equal(connection.execute("SELECT 1").fetchone(), (1,))
    # That a server's newest is what libpq has asked for: it has read the version, 3.2, and wonders why it is told.
    with newer_libpq(9999) as port, raises(psycopg.OperationalError) as caught:
        open_connection(port=port, max_protocol_version="3.2")
    equal("server negotiated but asks for no changes" in str(caught.error), True)
    # One that had asked for no more than 3.0 is not to be given more.
    with newer_libpq(9999) as port, raises(psycopg.OperationalError) as caught:
        open_connection(port=port, max_protocol_version="3.0")
    equal("downgrade to a higher-numbered version" in str(caught.error), True)


def types():
    columns = ", ".join([*VALUES, "a_json", "a_jsonb"])
    places = ", ".join(["%s"] * (len(VALUES) + 3))
    with open_connection() as connection:
        for id, values in enumerate([VALUES, NULLS]):
            row = [id, *values.values(), Json({"n": [id, None]}), Jsonb({"ü": id})]
            connection.execute(f"INSERT INTO basic_types (id, {columns}) VALUES ({places})", row)
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                # Without a word to psycopg of what the enum's binary form is.
                wanted = columns.replace("a_mood", "a_mood::text")
                rows = cursor.execute(f"SELECT {wanted} FROM basic_types ORDER BY id").fetchall()
            for id, values in enumerate([VALUES, NULLS]):
                equal(rows[id], (*values.values(), {"n": [id, None]}, {"ü": id}))
        large = "ü" * 3_000_000
        equal(connection.execute("SELECT %s::text", [large]).fetchone() == (large,), True)


def on_each_server(use):
    """Calls use(pid) with each of the two servers as the only one that is free."""
    with open_connection() as first, open_connection() as second:
        holders = {}
        for holder in (first, second):
            holder.execute("BEGIN")
            holders[holder] = holder.execute("SELECT pg_backend_pid()").fetchone()[0]
        equal(len(set(holders.values())), 2)
        for holder, pid in holders.items():
            holder.execute("ROLLBACK")
            use(pid)
            holder.execute("BEGIN")


def prepared():
    with open_connection() as connection:

        def ask(n):
            return connection.execute("SELECT %s::int * 2, pg_backend_pid()", [n]).fetchone()

        ask(1)
        on_each_server(lambda pid: equal(ask(pid), (pid * 2, pid)))


def shared():
    wrong = []

    def ask(who):
        try:
            with open_connection() as connection:
                for n in range(who * 1000, who * 1000 + 50):
                    row = connection.execute(f"SELECT {who % 4}, %s::int", [n]).fetchone()
                    equal(row, (who % 4, n))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=[who]) for who in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(wrong, [])


def batch():
    with open_connection() as connection:
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", [n]) for n in range(100)]
            equal([cursor.fetchone()[0] for cursor in cursors], list(range(100)))
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO items VALUES (%s, %s)", [(n, f"name {n}") for n in range(200)])
        equal(connection.execute("SELECT count(*) FROM items").fetchone(), (200,))
        with raises(psycopg.errors.DivisionByZero):
            with connection.pipeline():
                connection.execute("DELETE FROM items")
                connection.execute("SELECT 1 / %s::int", [0])
                connection.execute("SELECT 1 / %s::int", [1])
        # All up to the sync is one transaction.
        equal(connection.execute("SELECT count(*) FROM items").fetchone(), (200,))
        with connection.pipeline() as pipeline:
            good = connection.execute("SELECT 10 / %s::int", [1])
            pipeline.sync()
            bad = connection.execute("SELECT 10 / %s::int", [0])
            with raises(psycopg.errors.DivisionByZero):
                pipeline.sync()
            after = connection.execute("SELECT 10 / %s::int", [2])
            equal((good.fetchone(), after.fetchone()), ((10,), (5,)))
        with raises(psycopg.ProgrammingError):
            bad.fetchone()
        with connection.transaction(), connection.cursor(name="portal") as cursor:
            cursor.itersize = 7
            equal([row[0] for row in cursor.execute("SELECT generate_series(1, 30)")], list(range(1, 31)))
        connection.execute("TRUNCATE items")


def copy():
    with open_connection() as connection, connection.cursor() as cursor:
        rows = [(n, f"näme\t{n}\n" * 20) for n in range(5000)]
        with cursor.copy("COPY items FROM STDIN") as to:
            for row in rows:
                to.write_row(row)
        with cursor.copy("COPY items TO STDOUT (FORMAT binary)") as from_:
            from_.set_types(["int4", "text"])
            equal(list(from_.rows()), rows)
        with raises(psycopg.errors.UniqueViolation):
            with cursor.copy("COPY items FROM STDIN") as to:
                to.write_row(rows[0])
        with raises(psycopg.errors.QueryCanceled):
            with cursor.copy("COPY items FROM STDIN") as to:
                to.write_row((5000, "never there"))
                raise psycopg.errors.QueryCanceled("given up")
        equal(cursor.execute("SELECT count(*) FROM items").fetchone(), (5000,))
        cursor.execute("TRUNCATE items")


def cancel():
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
    with open_connection() as connection, open_connection() as watcher:

        def cancel_when_running(how):
            while watcher.execute(running).fetchone() == (0,):
                pass
            how()

        for how in (connection.cancel, connection.cancel_safe):
            thread = threading.Thread(target=cancel_when_running, args=[how])
            thread.start()
            with raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(60)")
            thread.join()
            equal(connection.execute("SELECT 1").fetchone(), (1,))


def error():
    with open_connection() as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO items VALUES (1, 'one')")
        connection.execute("SAVEPOINT here")
        with raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / %s::int", [0])
        with raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.execute("ROLLBACK TO here")
        equal(connection.execute("SELECT name FROM items").fetchall(), [("one",)])
        connection.execute("ROLLBACK")
        equal(connection.execute("SELECT name FROM items").fetchall(), [])


def reconnect():
    with open_connection() as connection:
        with raises(psycopg.OperationalError):
            connection.execute("BEGIN")
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        equal(connection.closed, True)
    with open_connection() as connection:
        equal(connection.execute("SELECT 1").fetchone(), (1,))


def altered():
    with open_connection() as connection, open_connection() as other:
        on_each_server(lambda _: equal(connection.execute("SELECT * FROM altered").fetchall(), [(1,)]))
        other.execute("ALTER TABLE altered ADD COLUMN b int DEFAULT 2")
        on_each_server(lambda _: equal(connection.execute("SELECT * FROM altered").fetchall(), [(1, 2)]))


def sql():
    with open_connection() as connection:
        connection.prepare_threshold = None
        connection.execute("PREPARE twice(int) AS SELECT $1 * 2, pg_backend_pid()")
        on_each_server(lambda pid: equal(connection.execute("EXECUTE twice(21)").fetchone(), (42, pid)))
        connection.execute("DEALLOCATE twice")
        with raises(psycopg.errors.InvalidSqlStatementName):
            connection.execute("EXECUTE twice(21)")
        connection.execute("PREPARE twice(int) AS SELECT $1 + 2")
        on_each_server(lambda pid: equal(connection.execute("EXECUTE twice(40)").fetchone(), (42,)))
        connection.execute("DEALLOCATE ALL")
        with raises(psycopg.errors.InvalidSqlStatementName):
            connection.execute("EXECUTE twice(21)")


report(connect, versions, types, prepared, shared, batch, copy, cancel, error, reconnect, altered, sql)
