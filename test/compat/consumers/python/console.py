"""Asks the console what monitoring asks, by psycopg 3 as it comes (extended protocol), with text and with binary results.

Prints one JSON object: for each SHOW the names of its columns, and its rows by each way.
"""

import json
import sys

import psycopg

SHOWS = sys.argv[1].split(",")

with psycopg.connect() as connection:
    answers = {}
    for show in SHOWS:
        ways = {}
        for way, binary in (("text", False), ("binary", True)):
            with connection.cursor(binary=binary) as cursor:
                cursor.execute(f"SHOW {show}", prepare=binary)
                ways["columns"] = [column.name for column in cursor.description]
                ways[way] = [[str(cell) if cell is not None else None for cell in row] for row in cursor]
        answers[show] = ways
    connection.rollback()
    # Prepared automatically, after the fifth time.
    for _ in range(7):
        answers["again"] = connection.execute("SHOW VERSION").fetchone()[0]

with psycopg.connect(autocommit=True) as connection:
    connection.execute("RELOAD")
    connection.execute("SET default_pool_size = 21")
    try:
        connection.execute("SHOW nonsense")
    except psycopg.Error as error:
        answers["error"] = [error.sqlstate, str(error).splitlines()[0]]
    # The community's exporter reads settings so.
    rows = connection.execute("SHOW CONFIG").fetchall()
    answers["default_pool_size"] = next(row[1] for row in rows if row[0] == "default_pool_size")

print(json.dumps(answers))
