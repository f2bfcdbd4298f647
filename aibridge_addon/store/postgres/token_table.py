"""The table of access tokens, which `aibridge token` writes and every proxy reads.

A reader listens for changes on a connection of its own, and asks for nothing but a sign of life
until one comes. A connection that broke may have missed a change: the next one reads the table.
"""

import contextlib
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.facts import now
from aibridge_addon.store.postgres import schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import (
    PostgresConnection,
    connect,
    errors_of,
    import_psycopg,
)
from aibridge_addon.store.postgres.deadline import deadline
from aibridge_addon.store.postgres.pool import close_all
from aibridge_addon.store.token_rows import READ, REVOKE, from_row, to_row

_READ_SECONDS = 2.0
"""Longest time that a reading may take."""


class TokenReader:
    """Reads the access tokens of a database; for any thread."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._open: list[PostgresConnection] = []
        """The connection, if there is one."""
        self._tokens: dict[str, AccessToken] | None = None
        """None: to be read."""
        self._is_listening = False
        weakref.finalize(self, close_all, self._open)

    def read(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id; none if there is no table.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._lock, errors_of(self._address):
            try:
                return self._read()
            except import_psycopg().Error:
                self.close()  # an idle connection may have been cut off
            try:
                return self._read()
            except BaseException:
                self.close()
                raise

    def _read(self) -> Mapping[str, AccessToken]:
        if not self._open:
            self._open.append(connect(self._address, "aibridge tokens"))
            if not schema.applied_migrations(self._open[0]):
                self.close()
                return {}
            self._is_listening = False
        connection = self._open[0]
        with deadline(connection, _READ_SECONDS):
            connection.execute("SELECT 1")
            if self._may_have_changed(connection) or self._tokens is None:
                self._tokens = None
                self._tokens = _read_all(connection)
        return self._tokens

    def _may_have_changed(self, connection: PostgresConnection) -> bool:
        """Return False if no change was announced since the last call; a standby announces none."""
        if self._is_listening:
            return any(True for _ in connection.raw.notifies(timeout=0))
        with contextlib.suppress(import_psycopg().errors.ReadOnlySqlTransaction):
            connection.execute("LISTEN aibridge_tokens")
            self._is_listening = True
        return True

    def close(self) -> None:
        """Close the connection; what was read may be out of date from now on."""
        self._tokens = None
        close_all(self._open)


def add(connection: PostgresConnection, token: AccessToken) -> None:
    """Store an access token."""
    row = to_row(token)
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(
        f"INSERT INTO aibridge_tokens ({names}) VALUES ({values})",  # noqa: S608 our names
        row,
    )


def revoke(connection: PostgresConnection, name: str) -> list[AccessToken]:
    """Revoke the access token with an id, or all of an actor; return those just revoked."""
    return _tokens(connection.execute(REVOKE, {"now": now(), "name": name}))


def _read_all(connection: PostgresConnection) -> dict[str, AccessToken]:
    return {token.id: token for token in _tokens(connection.execute(READ))}


def _tokens(cursor: Any) -> list[AccessToken]:
    names = [column.name for column in cursor.description]
    return [from_row(dict(zip(names, row, strict=True))) for row in cursor]
