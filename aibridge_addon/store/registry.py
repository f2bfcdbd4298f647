"""Opens stores by their locations; plugins register further schemes."""

from collections.abc import Callable
from pathlib import Path

from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.protocol import Store

type StoreFactory = Callable[[str], Store]
"""Opens the store at a location, without connecting to it."""


def register(scheme: str, factory: StoreFactory) -> None:
    """Open locations that begin with `scheme://` by this factory, which receives all of them."""
    _FACTORIES[scheme] = factory


def open_store(location: str | Path) -> Store:
    """Return the store at a location: a path, which means SQLite, or `scheme://…`.

    Raises:
        StoreError: no plugin has registered the scheme.
    """
    scheme, separator, _ = str(location).partition("://")
    if not separator:
        return _open_sqlite(str(location))
    if factory := _FACTORIES.get(scheme):
        return factory(str(location))
    known = ", ".join(f"{name}://" for name in sorted(_FACTORIES))
    raise StoreError(
        f"no store is registered for {scheme}://; known are paths (SQLite), {known}. Name the"
        " module that registers it in aibridge_plugins"
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
