"""Values of all basic types, as Python has them: column -> value."""

import datetime
import decimal
import ipaddress
import uuid

UTC = datetime.timezone.utc

VALUES = {
    "a_bool": True,
    "a_int2": -32768,
    "a_int4": 2147483647,
    "a_int8": -9223372036854775808,
    "a_float4": 1.5,
    "a_float8": -1e300,
    "a_numeric": decimal.Decimal("12345678901234567890.123456789"),
    "a_text": "naïve 'quoted' \\ text ☃ \n",
    "a_varchar": "",
    "a_char": "abc  ",
    "a_bytea": b"\x00\x01\\'\xff",
    "a_date": datetime.date(2024, 2, 29),
    "a_time": datetime.time(23, 59, 59, 123456),
    "a_timestamp": datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
    "a_timestamptz": datetime.datetime(2024, 2, 29, 12, 0, tzinfo=UTC),
    "a_interval": datetime.timedelta(days=3, seconds=4, microseconds=5),
    "a_uuid": uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
    "a_inet": ipaddress.ip_interface("192.168.0.1/24"),
    "a_ints": [1, -2, 3],
    "a_texts": ["a", "with, comma", '"quoted"', ""],
    "a_mood": "glad",
}
NULLS = {column: None for column in VALUES}
