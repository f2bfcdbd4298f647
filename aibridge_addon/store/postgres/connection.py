"""Connections to PostgreSQL that run shared SQL."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibridge_addon.library_logs import silence_libraries
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.dialect import translate

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 5
"""Seconds to wait for a connection, unless the address says otherwise."""
LOCK_SECONDS = 1.0
"""Seconds that a statement waits for a lock of another program."""
LOCKED = "another program holds a lock on a table"
"""Text of the error after `LOCK_SECONDS`."""
READ_ONLY = "the server is a standby or read-only, and cannot be written"
_SETTINGS = (
    f"SET lock_timeout = {int(LOCK_SECONDS * 1000)};"
    # Compiling a report takes longer than executing it, by half a second.
    " SET jit = off"
)
_AT_ONCE = 200
"""Rows that are read at once from a query that need not be read to its end."""
_LOCAL_TIME = Path("/etc/localtime")


class PostgresConnection:
    """A connection in autocommit mode; used by one thread at a time."""

    def __init__(self, raw: "psycopg.Connection[Any]") -> None:
        self.raw = raw
        self._walks = 0

    def execute(self, sql: str, parameters: Any = (), /) -> "psycopg.Cursor[Any]":
        """Execute a statement of shared SQL."""
        return self.raw.execute(translate(sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> "psycopg.Cursor[Any]":
        """Execute a statement of shared SQL for each set of parameters."""
        cursor = self.raw.cursor()
        cursor.executemany(translate(sql), parameters)
        return cursor

    def walk(self, sql: str, parameters: Any, /) -> Iterator[Any]:
        """Yield the rows of a query, some at a time; needs a transaction."""
        self._walks += 1
        with self.raw.cursor(f"walk_{self._walks}") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(translate(sql), parameters)
            yield from cursor

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()


def connect(address: Address, application: str = "aibridge") -> PostgresConnection:
    """Return a new connection.

    Raises:
        StoreError: the extra is not installed, or the address is ambiguous.
        psycopg.Error: the database cannot be reached.
    """
    psycopg = import_psycopg()
    address.check()
    raw = psycopg.connect(address.dsn, autocommit=True, **_defaults(address, application))
    try:
        from aibridge_addon.store.postgres.types import adapt  # needs psycopg

        adapt(raw)
        raw.execute(_SETTINGS)
        _set_time_zone(raw)
    except BaseException:
        raw.close()
        raise
    return PostgresConnection(raw)


def import_psycopg() -> Any:
    """Return the module `psycopg`.

    Raises:
        StoreError: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise StoreError(
            "a PostgreSQL database needs the extra `postgres`:"
            f' pip install "aibridge-addon[postgres]" ({error})'
        ) from error
    silence_libraries()
    return psycopg


def _defaults(address: Address, application: str) -> dict[str, Any]:
    """Return the parameters of a connection that its address does not set."""
    wanted = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": application,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    psycopg = import_psycopg()
    try:
        given = psycopg.conninfo.conninfo_to_dict(address.dsn)
    except psycopg.ProgrammingError as error:
        # libpq names the part that it cannot read, which may be one of a password.
        raise StoreError(f"{address.public} is not an address of a PostgreSQL database") from error
    return {k: v for k, v in wanted.items() if k not in given} | {"client_encoding": "utf8"}


def _set_time_zone(raw: "psycopg.Connection[Any]") -> None:
    """Let the database group times by the local days of this process."""
    import psycopg

    with contextlib.suppress(psycopg.errors.InvalidParameterValue):
        raw.execute("SELECT set_config('TimeZone', %s, false)", [_zone_name()])
        return
    offset = datetime.now().astimezone().utcoffset()
    assert offset is not None
    hours = offset.total_seconds() / 3600
    raw.execute(f"SET TIME ZONE {hours}")


def _zone_name() -> str:
    if name := os.environ.get("TZ", "").removeprefix(":"):
        return name
    with contextlib.suppress(OSError):
        _, found, name = os.path.realpath(_LOCAL_TIME).rpartition("zoneinfo/")
        if found:
            return name
    return time.tzname[0]


@contextlib.contextmanager
def errors_of(address: Address) -> Iterator[None]:
    """Turn errors of the database into `StoreError`, without secrets."""
    psycopg = import_psycopg()
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction:
        raise StoreError(f"{address.public}: {READ_ONLY}") from None
    except psycopg.errors.LockNotAvailable:
        raise StoreError(f"{address.public}: {LOCKED}") from None
    except psycopg.Error as error:
        text = address.without_secrets(error.diag.message_primary or error)
        raise StoreError(f"{address.public}: {text}") from None
