"""Opens stores by their locations; plugins register further schemes."""

import re
from collections.abc import Callable
from pathlib import Path

from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.protocol import Store

type StoreFactory = Callable[[str], Store]
"""Opens the store at a location, without connecting to it."""
_POSTGRES_OTHERWISE = re.compile(
    r"(?i)postgres(ql)?:(?!//)|(host|hostaddr|port|dbname|user|service|password)\s*="
)
"""Beginning of an address that other programs take for PostgreSQL's, and that is not a path."""


def register(scheme: str, factory: StoreFactory) -> None:
    """Register the factory of stores at `scheme://…`; it receives the whole location."""
    _FACTORIES[scheme] = factory


def open_store(location: str | Path) -> Store:
    """Return the store at a location: a path, which means SQLite, or `scheme://…`.

    Raises:
        StoreError: no plugin has registered the scheme, or the location is not a path.
    """
    check_location(str(location))
    scheme, separator, rest = str(location).partition("://")
    if not separator:
        return _open_sqlite(str(location))
    scheme = scheme.lower()  # as in every URL
    if factory := _FACTORIES.get(scheme):
        return factory(f"{scheme}://{rest}")
    known = ", ".join(f"{name}://" for name in sorted(_FACTORIES))
    raise StoreError(
        f"no store is registered for {scheme}://; known are paths (SQLite), {known}. Name the"
        " module that registers it in aibridge_plugins"
    )


def check_location(location: str) -> None:
    """Check that a location is not an address of PostgreSQL in another notation.

    Raises:
        StoreError: it is; it would become the name of a new SQLite file.
    """
    if _POSTGRES_OTHERWISE.match(location):
        raise StoreError(
            "write the address of a PostgreSQL database as postgresql://user@host:port/database"
        )


def _open_sqlite(location: str) -> Store:
    # Imported late: commands in shell profiles, such as `aibridge env`, start without it.
    from aibridge_addon.store.sqlite.store import SQLiteStore

    return SQLiteStore(Path(location.removeprefix("sqlite://")))


def _open_postgres(location: str) -> Store:
    from aibridge_addon.store.postgres.store import PostgresStore

    return PostgresStore(location)


_FACTORIES: dict[str, StoreFactory] = {
    "sqlite": _open_sqlite,
    "postgres": _open_postgres,
    "postgresql": _open_postgres,
}
