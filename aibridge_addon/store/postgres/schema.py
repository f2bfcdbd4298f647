"""The tables, derived from those of the SQLite store: one definition for both.

A migration of the SQLite store needs no counterpart here as long as it adds tables, columns or
indexes: `migrate` creates what is missing, whichever of several processes comes first.
"""

from collections.abc import Iterator

from aibridge_addon.facts import now
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres import partitions, search_words
from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.postgres.functions import FUNCTIONS
from aibridge_addon.store.postgres.limit_functions import LIMITS
from aibridge_addon.store.postgres.triggers import TRIGGERS
from aibridge_addon.store.sqlite import description
from aibridge_addon.store.tables import Column, Index, Table

_MIGRATION_LOCK = 0x61_69_62_72_00
"""Key of the advisory lock of migrations."""
_VERSIONS = ("postgres-1", "postgres-2", "postgres-3")
"""Names of this module's own part of the schema: functions, triggers and partitions. Add another
when they change."""
_TYPES = {"TEXT": 'text COLLATE "C"', "INTEGER": "bigint"}
_TYPES |= {"REAL": "double precision", "BLOB": "bytea"}
"""Texts are compared by their bytes, as SQLite does, and so that times and ids sort."""
_APPLIED = "SELECT name FROM aibridge_migrations"
_MIGRATIONS = (
    'CREATE TABLE IF NOT EXISTS aibridge_migrations (name text COLLATE "C" PRIMARY KEY,'
    " applied_at text NOT NULL)"
)
_EXISTS = "SELECT to_regclass('aibridge_migrations') IS NOT NULL"
_MORE_INDEXES = (
    Index(name="idx_aibridge_token_usages_id", columns=("id",)),
    Index(name="idx_aibridge_token_usages_created_at", columns=("created_at",)),
)
"""Indexes of the table of usages, whose key begins with the interception."""


class SchemaTooNewError(StoreError):
    """The database has migrations that this version does not know."""


def is_current(connection: PostgresConnection) -> bool:
    """Return True if a database has the newest schema.

    Raises:
        SchemaTooNewError: a newer version has migrated it.
    """
    applied = applied_migrations(connection)
    if unknown := sorted(applied - _known()):
        raise SchemaTooNewError(f"a newer version has migrated it: {', '.join(unknown)}")
    return applied == _known()


def applied_migrations(connection: PostgresConnection) -> frozenset[str]:
    """Return the names of the migrations of a database; none if it has no tables of ours."""
    (exists,) = connection.execute(_EXISTS).fetchone() or (False,)
    return frozenset(n for (n,) in connection.execute(_APPLIED)) if exists else frozenset()


def migrate(connection: PostgresConnection) -> None:
    """Migrate a database to the newest schema, unless it has it; may be called by many at once.

    Raises:
        SchemaTooNewError: a newer version has migrated it.
    """
    if is_current(connection):
        return
    with transaction(connection):
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        if not is_current(connection):
            for statement in _statements(connection):
                connection.raw.execute(statement.encode())
            connection.executemany(
                "INSERT INTO aibridge_migrations (name, applied_at) VALUES (?, ?)"
                " ON CONFLICT DO NOTHING",
                [(name, now()) for name in sorted(_known())],
            )


def _known() -> frozenset[str]:
    return description.migration_names() | set(_VERSIONS)


def _statements(connection: PostgresConnection) -> Iterator[str]:
    yield _MIGRATIONS
    yield from FUNCTIONS
    yield from search_words.functions(connection)
    for table in description.tables():
        yield _create(table)
        if table.name in partitions.KEYS:
            yield partitions.create_default(table.name)
        for column in table.columns:
            yield f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {_declare(column)}"
        for index in table.indexes:
            yield _create_index(table.name, index)
    for index in _MORE_INDEXES:
        yield _create_index("aibridge_token_usages", index)
    yield search_words.INDEX
    yield from TRIGGERS
    yield from LIMITS
    yield from partitions.create_around_now()


def key_of(table: Table) -> tuple[str, ...]:
    """Return the primary key of a table: with that of its partitions, if it has any."""
    partition_key = partitions.KEYS.get(table.name)
    if partition_key is None or partition_key in table.key:
        return table.key
    return (partition_key, *table.key)


def _create(table: Table) -> str:
    key = key_of(table)
    parts = [_declare(column) for column in table.columns]
    parts.append(f"PRIMARY KEY ({', '.join(key)})")
    parts += [f"UNIQUE ({', '.join(columns)})" for columns in table.unique]
    created = f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(parts)})"
    partition_key = partitions.KEYS.get(table.name)
    return f"{created} PARTITION BY RANGE ({partition_key})" if partition_key else created


def _declare(column: Column) -> str:
    declared = f"{column.name} {_TYPES[column.type]}"
    if column.is_number_of_row:
        return f"{declared} GENERATED BY DEFAULT AS IDENTITY"
    if column.default is not None:
        declared += f" DEFAULT {column.default}"
    return declared + " NOT NULL" * column.is_required


def _create_index(table: str, index: Index) -> str:
    unique = "UNIQUE " * index.is_unique
    columns = ", ".join(index.columns)
    condition = f" WHERE {index.condition}" if index.condition else ""
    return f"CREATE {unique}INDEX IF NOT EXISTS {index.name} ON {table} ({columns}){condition}"
