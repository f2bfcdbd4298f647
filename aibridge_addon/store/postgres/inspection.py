"""Inspects a PostgreSQL store for `aibridge doctor`: the server, the schema, and the spool."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from aibridge_addon.findings import Finding, Level
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres import schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import PostgresConnection, connect, errors_of
from aibridge_addon.store.postgres.cures import cure_of
from aibridge_addon.store.postgres.writer import spool_path
from aibridge_addon.store.waiting_files import inspect_disk, inspect_files

_STATE = """
SELECT current_setting('server_version'), pg_database_size(current_database()),
    pg_is_in_recovery(), has_schema_privilege(current_schema(), 'CREATE'),
    current_setting('max_connections')::bigint, (SELECT count(*) FROM pg_stat_activity),
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
    coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true),
    current_setting('transaction_read_only')::boolean,
    coalesce(has_table_privilege(to_regclass('aibridge_interceptions'), 'INSERT'), true)
"""
_REQUESTS = "SELECT count(*) FROM aibridge_interceptions"


def inspect(address: Address) -> list[Finding]:
    """Return the state of the database and of the files for it. Changes nothing."""
    try:
        with errors_of(address), closing(connect(address, "aibridge doctor")) as connection:
            found = list(_inspect(address, connection))
    except schema.SchemaTooNewError as error:
        to_do = "use the newer version, or name another database"
        found = [_finding("bad", f"{address.public}: {error}", to_do)]
    except StoreError as error:
        found = [_finding("bad", str(error), cure_of(str(error)))]
    path = spool_path(address)
    return [*found, *inspect_disk(path), *inspect_files(path)]


def _inspect(address: Address, connection: PostgresConnection) -> list[Finding]:
    state: Any = connection.execute(_STATE).fetchone()
    version, size, is_standby, may_create, most, used, is_encrypted, is_local, *rights = state
    applied = schema.applied_migrations(connection)
    is_current = schema.is_current(connection)
    requests = "no tables yet"
    if applied:
        (count,) = connection.execute(_REQUESTS).fetchone() or (0,)
        requests = f"{count:,} request{'s' * (count != 1)}"
    what = f"{address.public}, PostgreSQL {version}, {requests}, {size / 2**20:,.1f} MiB"
    found = [_finding("ok", what)]
    if is_standby:
        to_do = "name the primary server, or add ?target_session_attrs=read-write to the address"
        found = [_finding("bad", f"{what}: a standby, which cannot be written", to_do)]
    found += _find_missing_rights(what, *rights, is_standby=is_standby)
    if not may_create and not is_current:
        to_do = "grant CREATE on the schema to the role, or run a proxy as the owner once"
        found.append(_finding("bad", "the role may not create the tables", to_do))
    if not is_encrypted and not is_local:
        to_do = "add ?sslmode=verify-full&sslrootcert=system to the address"
        found.append(_finding("note", "the connection is not encrypted", to_do))
    if used > most * 0.9:
        to_do = "raise max_connections: a proxy process uses up to five connections"
        found.append(_finding("note", f"{used} of {most} connections are used", to_do))
    return found


def _find_missing_rights(
    what: str, is_read_only: bool, may_insert: bool, *, is_standby: bool
) -> Iterator[Finding]:
    if is_read_only and not is_standby:
        to_do = "turn default_transaction_read_only off for the role and the database"
        yield _finding("bad", f"{what}: read-only", to_do)
    if not may_insert:
        to_do = "grant SELECT, INSERT, UPDATE and DELETE on all tables of aibridge to the role"
        yield _finding("bad", "the role may not write to the tables", to_do)


def _finding(level: Level, what: str, to_do: str = "") -> Finding:
    return Finding(about="database", level=level, what=what, to_do=to_do)
