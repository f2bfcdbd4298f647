"""Prices recorded calls in a database file again."""

from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.repriced import PriceCall, Repriced
from aibridge_addon.store.sql.repricing import reprice
from aibridge_addon.store.sqlite.writing import writing


def reprice_file(path: Path, since: str, price: PriceCall, *, write: bool) -> Iterator[Repriced]:
    """Price the calls in a database file again.

    Raises:
        StoreError: the database does not exist, or cannot be read or written.
    """
    if not path.exists():
        raise StoreError(f"nothing was recorded yet: there is no {path}")
    with writing(path) as db:
        yield from reprice(db.conn, since, price, write=write)
