"""Runs checks one after another, each with a time limit, and says how each went."""

import signal
import sys
import traceback

LIMIT = 30  # seconds a check


class TooLong(Exception):
    pass


def on_alarm(_signal, _frame):
    raise TooLong(f"not done after {LIMIT} seconds")


def report(*checks):
    """Prints `ok NAME`, or `not ok NAME: why`, for each function; ends the program."""
    signal.signal(signal.SIGALRM, on_alarm)
    failed = False
    for check in checks:
        name = check.__name__
        signal.alarm(LIMIT)
        try:
            check()
            print(f"ok {name}", flush=True)
        except Exception as error:
            failed = True
            print(f"not ok {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
            traceback.print_exc()
        finally:
            signal.alarm(0)
    sys.exit(1 if failed else 0)


def equal(got, expected):
    if got != expected:
        raise AssertionError(f"got {repr(got):.500}, not {repr(expected):.500}")


class raises:
    """with raises(Error, code) as caught: the block must raise it, with this SQLSTATE where one is given."""

    def __init__(self, kind, sqlstate=None):
        self.kind = kind
        self.sqlstate = sqlstate

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _traceback):
        if error is None:
            raise AssertionError(f"{self.kind.__name__} was not raised")
        if not isinstance(error, self.kind):
            return False
        if self.sqlstate is not None:
            equal(error.sqlstate, self.sqlstate)
        self.error = error
        return True
