"""Describes the tables of the newest schema, so that other engines can have the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

from sqlite_utils import Database

from aibridge_addon.store.sqlite.schema import TABLES, known_migrations, migrate
from aibridge_addon.store.tables import Column, Index, Table


@cache
def tables() -> tuple[Table, ...]:
    """Return all tables."""
    with closing(Database(memory=True)) as db:
        migrate(db)
        return tuple(_table(db.conn, name) for name in TABLES)


@cache
def migration_names() -> frozenset[str]:
    """Return the names of the migrations that lead to this schema."""
    return known_migrations()


def _table(connection: sqlite3.Connection, name: str) -> Table:
    rows = connection.execute("SELECT * FROM pragma_table_info(?)", [name]).fetchall()
    keyed = sorted((row for row in rows if row[5]), key=lambda row: row[5])
    key = tuple(row[1] for row in keyed)
    is_numbered = [row[2] for row in keyed] == ["INTEGER"]
    columns = (_column(row, is_number_of_row=is_numbered and bool(row[5])) for row in rows)
    return Table(
        name=name,
        columns=tuple(columns),
        key=key,
        unique=tuple(_columns_of(connection, index) for index in _listed(connection, name, "u")),
        indexes=tuple(_index(connection, index) for index in _listed(connection, name, "c")),
    )


def _column(row: Any, *, is_number_of_row: bool) -> Column:
    _, name, type_, is_required, default, in_key = row
    return Column(
        name=name,
        type=type_,
        is_required=bool(is_required or in_key),
        default=default,
        is_number_of_row=is_number_of_row,
    )


def _listed(connection: sqlite3.Connection, table: str, origin: str) -> Iterator[str]:
    """Yield the indexes of a table: `c` are created, `u` are of unique constraints."""
    for name, found in connection.execute(
        "SELECT name, origin FROM pragma_index_list(?) ORDER BY seq DESC", [table]
    ):
        if found == origin:
            yield name


def _index(connection: sqlite3.Connection, name: str) -> Index:
    is_unique, sql = connection.execute(
        'SELECT l."unique", m.sql FROM sqlite_master m, pragma_index_list(m.tbl_name) l'
        " WHERE m.name = ? AND l.name = m.name",
        [name],
    ).fetchone()
    _, _, condition = sql.partition(" WHERE ")
    columns = _columns_of(connection, name)
    return Index(name=name, columns=columns, is_unique=bool(is_unique), condition=condition)


def _columns_of(connection: sqlite3.Connection, index: str) -> tuple[str, ...]:
    rows = connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", [index])
    return tuple(name for (name,) in rows)
