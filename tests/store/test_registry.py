"""Locations of stores: paths, registered schemes, and schemes that nothing registers."""

from pathlib import Path

import click
import pytest

from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.store import SQLiteStore


def test_path_and_sqlite_scheme_open_the_same_sqlite_store_without_creating_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder" / "aibridge.sqlite3"

    for location in (path, str(path), f"sqlite://{path}"):
        store = open_store(location)
        assert isinstance(store, SQLiteStore)
        assert store.location == str(path)

    assert not path.parent.exists()


def test_scheme_of_a_location_may_be_in_capitals() -> None:
    store = open_store("POSTGRESQL://user:secret@host/Records")
    assert store.location == "postgresql://user@host/Records"


def test_unregistered_scheme_is_refused_with_the_option_that_registers_it() -> None:
    with pytest.raises(StoreError, match=r"no store is registered for nosuch://.*aibridge_plugins"):
        open_store("nosuch://host/database")


@pytest.mark.parametrize(
    "location",
    ["host=db dbname=aibridge", "postgresql:aibridge", "postgres:/aibridge", "service=x"],
)
def test_address_of_postgresql_in_another_notation_makes_no_file(location: str) -> None:
    with pytest.raises(StoreError, match="as postgresql://user@host:port/database"):
        open_store(location)
    with pytest.raises(click.BadParameter, match="as postgresql://user@host:port/database"):
        DatabaseLocation().convert(location, None, None)


def test_path_that_begins_like_an_address_is_a_path(tmp_path: Path) -> None:
    assert isinstance(open_store(tmp_path / "host=db" / "a.sqlite3"), SQLiteStore)
    assert isinstance(open_store("postgresql.sqlite3"), SQLiteStore)
