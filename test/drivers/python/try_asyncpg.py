"""asyncpg, as it comes: its statement cache on, types looked up by prepared statements of its own."""

import asyncio
import json
import os

import asyncpg

from report import equal, raises, report
from values import NULLS, VALUES


class open_connection:
    """To where the environment says; `async with`."""

    def __init__(self, **more):
        self.more = more

    async def __aenter__(self):
        self.connection = await asyncpg.connect(**self.more)
        return self.connection

    async def __aexit__(self, kind, _error, _traceback):
        if kind is None:
            await self.connection.close(timeout=5)
        else:
            self.connection.terminate()


async def connect():
    async with open_connection() as connection:
        equal(await connection.fetchval("SELECT current_user::text"), "scram_user")
    with raises(asyncpg.PostgresError):
        await asyncpg.connect(password="wrong")


async def types():
    columns = ", ".join([*VALUES, "a_json", "a_jsonb"])
    places = ", ".join(f"${n}" for n in range(1, len(VALUES) + 4))
    async with open_connection() as connection:
        for id, values in enumerate([VALUES, NULLS]):
            row = [id, *values.values(), json.dumps({"n": [id, None]}), json.dumps({"ü": id})]
            await connection.execute(f"INSERT INTO basic_types (id, {columns}) VALUES ({places})", *row)
        for id, values in enumerate([VALUES, NULLS]):
            row = dict(await connection.fetchrow(f"SELECT {columns} FROM basic_types WHERE id = $1", id))
            equal(json.loads(row.pop("a_json")), {"n": [id, None]})
            equal(json.loads(row.pop("a_jsonb")), {"ü": id})
            equal(row, values)
        large = "ü" * 3_000_000
        equal(await connection.fetchval("SELECT $1::text", large) == large, True)


async def on_each_server(use):
    """Calls use(pid) with each of the two servers as the only one that is free."""
    async with open_connection() as first, open_connection() as second:
        holders = {}
        for holder in (first, second):
            await holder.execute("BEGIN")
            holders[holder] = await holder.fetchval("SELECT pg_backend_pid()")
        equal(len(set(holders.values())), 2)
        for holder, pid in holders.items():
            await holder.execute("ROLLBACK")
            await use(pid)
            await holder.execute("BEGIN")
        for holder in holders:
            await holder.execute("ROLLBACK")


async def prepared():
    async with open_connection() as connection:
        statement = await connection.prepare("SELECT $1::int * 2, pg_backend_pid()")
        await statement.fetchrow(1)  # up to here it has a server: asyncpg asks for a Flush, not for a Sync

        async def ask(pid):
            equal(tuple(await statement.fetchrow(pid)), (pid * 2, pid))
            equal(await connection.fetchval("SELECT $1::int + 1", pid), pid + 1)  # from the cache

        await on_each_server(ask)


async def shared():
    async def ask(who):
        async with open_connection() as connection:
            for n in range(who * 1000, who * 1000 + 50):
                row = await connection.fetchrow(f"SELECT {who % 4}, $1::int", n)
                equal(tuple(row), (who % 4, n))

    await asyncio.gather(*[ask(who) for who in range(20)])


async def batch():
    async with open_connection() as connection:
        rows = [(n, f"name {n}") for n in range(5000)]
        await connection.executemany("INSERT INTO items VALUES ($1, $2)", rows)
        equal(await connection.fetchval("SELECT count(*) FROM items"), 5000)
        with raises(asyncpg.UniqueViolationError):
            await connection.executemany("INSERT INTO items VALUES ($1, $2)", [(6000, ""), (6001, ""), (1, "")])
        equal(await connection.fetchval("SELECT count(*) FROM items"), 5000)
        async with connection.transaction():
            cursor = connection.cursor("SELECT id FROM items ORDER BY id", prefetch=7)
            equal([row[0] async for row in cursor], list(range(5000)))
        pairs = await connection.fetchmany("SELECT $1::int * $2::int", [(n, n) for n in range(50)])
        equal([row[0] for row in pairs], [n * n for n in range(50)])
        await connection.execute("TRUNCATE items")


async def copy():
    async with open_connection() as connection:
        rows = [(n, f"näme\t{n}\n" * 20) for n in range(5000)]
        await connection.copy_records_to_table("items", records=rows)
        parts = []

        async def take(part):
            parts.append(part)

        await connection.copy_from_query("SELECT id FROM items ORDER BY id", output=take)
        equal(b"".join(parts), b"".join(b"%d\n" % n for n in range(5000)))
        with raises(asyncpg.UniqueViolationError):
            await connection.copy_records_to_table("items", records=rows)

        async def half():
            yield b"5000\tnever there\n"
            raise ZeroDivisionError("given up")

        with raises(ZeroDivisionError):
            await connection.copy_to_table("items", source=half())
        equal(await connection.fetchval("SELECT count(*) FROM items"), 5000)
        await connection.execute("TRUNCATE items")


async def cancel():
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
    async with open_connection() as connection, open_connection() as watcher:
        sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        while await watcher.fetchval(running) == 0:
            pass
        sleeping.cancel()
        with raises(asyncio.CancelledError):
            await sleeping
        equal(await connection.fetchval("SELECT 1"), 1)
        with raises(asyncio.TimeoutError):
            await connection.execute("SELECT pg_sleep(60)", timeout=0.2)
        equal(await connection.fetchval("SELECT 1"), 1)


async def error():
    async with open_connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO items VALUES (1, 'one')")
        await connection.execute("SAVEPOINT here")
        with raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("SELECT 1 / $1::int", 0)
        with raises(asyncpg.InFailedSQLTransactionError):
            await connection.fetchval("SELECT 1")
        await connection.execute("ROLLBACK TO here")
        equal(await connection.fetchval("SELECT name FROM items"), "one")
        await connection.execute("ROLLBACK")
        equal(await connection.fetch("SELECT name FROM items"), [])


async def reconnect():
    connection = await asyncpg.connect()
    await connection.execute("BEGIN")
    with raises(asyncpg.PostgresConnectionError):
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    while not connection.is_closed():
        await asyncio.sleep(0)
    async with open_connection() as connection:
        equal(await connection.fetchval("SELECT 1"), 1)
    async with asyncpg.create_pool(min_size=3, max_size=10) as pool:  # resets each connection it gets back
        equal(sorted(await asyncio.gather(*[pool.fetchval("SELECT $1::int", n) for n in range(50)])), list(range(50)))


async def altered():
    async with open_connection() as connection, open_connection() as other:

        async def ask(*row):
            equal([tuple(found) for found in await connection.fetch("SELECT * FROM altered")], [row])

        await on_each_server(lambda _: ask(1))
        await other.execute("ALTER TABLE altered ADD COLUMN b int DEFAULT 2")
        await on_each_server(lambda _: ask(1, 2))


def run(check):
    """asyncio.run, under the same name."""

    def runs():
        assert "PGHOST" in os.environ
        asyncio.run(check())

    runs.__name__ = check.__name__
    return runs


report(*map(run, [connect, types, prepared, shared, batch, copy, cancel, error, reconnect, altered]))
