"""Prices recorded calls in a database file again."""

from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.store.repriced import PriceCall, Repriced
from aibridge_addon.store.sql.repricing import reprice
from aibridge_addon.store.sqlite.reports.reader import connected
from aibridge_addon.store.sqlite.writing import writing


def reprice_file(path: Path, since: str, price: PriceCall, *, write: bool) -> Iterator[Repriced]:
    """Price the calls in a database file again.

    Raises:
        NothingRecordedError: the database does not exist, or has no tables of ours.
        StoreError: it cannot be read or written.
    """
    with connected(path):
        pass  # what is not recorded yet must not be created
    with writing(path) as db:
        yield from reprice(db.conn, since, price, write=write)
