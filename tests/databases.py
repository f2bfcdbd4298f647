"""Databases of both engines for tests: the same tests run on each.

`sqlite` is a file; `postgres` a database of the server that the run shares.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

from sqlite_utils import Database as SQLiteUtils

from aibridge_addon.facts import Fact, new_id
from aibridge_addon.report.protocol import Reports
from aibridge_addon.store import Store, open_store
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.postgres import schema as postgres_schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import connect
from aibridge_addon.store.postgres.writer import execute as execute_postgres
from aibridge_addon.store.sqlite.schema import TABLES, migrate
from aibridge_addon.store.sqlite.search_index import Indexer
from aibridge_addon.store.sqlite.writer import execute
from aibridge_addon.store.statements import statements

ENGINES = ("sqlite", "postgres")
TEMPLATE = "aibridge_template"


class Database(ABC):
    """An empty database with the newest schema."""

    location: str

    @property
    def store(self) -> Store:
        """A new store on the database."""
        return open_store(self.location)

    @property
    def reports(self) -> Reports:
        """The reports on the database."""
        return self.store.reports()

    @abstractmethod
    def connected(self) -> AbstractContextManager[Connection]:
        """Return a connection in autocommit mode."""

    @abstractmethod
    def write(self, *facts: Fact) -> None:
        """Commit facts in one transaction."""

    def execute(self, sql: str, parameters: Any = ()) -> None:
        """Execute a statement."""
        with self.connected() as connection:
            connection.execute(sql, parameters)

    def select(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connected() as connection:
            return [tuple(row) for row in connection.execute(sql, parameters)]

    def rows(self, table: str, order: str = "id") -> list[dict[str, Any]]:
        """Return the rows of a table; the name is without `aibridge_`."""
        with self.connected() as connection:
            found = connection.execute(f"SELECT * FROM aibridge_{table} ORDER BY {order}")
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]


class SQLiteFile(Database):
    """A database file."""

    def __init__(self, folder: Path) -> None:
        path = folder / "some.sqlite3"
        path.write_bytes(_empty_file())
        self.location = str(path)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Return a connection in autocommit mode."""
        with closing(sqlite3.connect(self.location, isolation_level=None)) as connection:
            yield connection

    def write(self, *facts: Fact) -> None:
        """Commit facts in one transaction."""
        with closing(SQLiteUtils(self.location)) as db, db.atomic():
            for statement in statements(facts):
                execute(db.conn, statement)
            Indexer().index(db.conn)


@cache
def _empty_file() -> bytes:
    with closing(SQLiteUtils(memory=True)) as db:
        migrate(db)
        return db.conn.serialize()


class PostgresDatabase(Database):
    """A database on a server."""

    def __init__(self, server: str, *, template: str | None = TEMPLATE) -> None:
        name = f"t{new_id().replace('-', '')}"
        created = f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")
        with closing(connect(Address(f"{server}/postgres"))) as connection:
            connection.execute(created)
        self.location = f"{server}/{name}"

    @classmethod
    def at(cls, location: str) -> Self:
        """Return a database that exists."""
        made = cls.__new__(cls)
        made.location = location
        return made

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Return a connection in autocommit mode."""
        with closing(connect(Address(self.location))) as connection:
            yield connection

    def write(self, *facts: Fact) -> None:
        """Commit facts in one transaction."""
        with self.connected() as connection, transaction(connection):
            for statement in statements(facts):
                execute_postgres(connection, statement)


class Reusable(ABC):
    """A database that is emptied for each example of a test."""

    @abstractmethod
    def fresh(self) -> Database:
        """Return the database without rows; what it returned before is gone."""


class ReusableFile(Reusable):
    """A file that is written anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self) -> Database:
        """Return the database without rows."""
        return SQLiteFile(self._folder)


class ReusablePostgres(Reusable):
    """A database whose rows are deleted."""

    def __init__(self, server: str) -> None:
        self._database = PostgresDatabase(server)

    def fresh(self) -> Database:
        """Return the database without rows."""
        with self._database.connected() as connection:
            connection.execute("SET session_replication_role = replica")  # fires no triggers
            connection.execute(";".join(f"DELETE FROM {table}" for table in TABLES))
            connection.execute("ALTER TABLE aibridge_endings ALTER COLUMN seq RESTART")
        return self._database


def make_template(server: str) -> None:
    """Create the database that others are copied from: migrations take longer than a test."""
    with closing(connect(Address(f"{server}/postgres"))) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}_new")
        with closing(connect(Address(f"{server}/{TEMPLATE}_new"))) as new:
            postgres_schema.migrate(new)
        connection.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")
