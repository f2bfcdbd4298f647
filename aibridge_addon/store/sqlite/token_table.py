"""The table of access tokens, which `aibridge token` writes and the proxy reads.

A token is never deleted: lists show who once had access, and a proxy that required tokens goes on
to require them.
"""

import contextlib
import sqlite3
from pathlib import Path

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.facts import now
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.writing import writing
from aibridge_addon.store.token_rows import READ, REVOKE, from_row, to_row

_TABLE = "aibridge_tokens"
_READ_SECONDS = 1.0
"""Seconds to wait for a lock."""


def read(path: Path) -> dict[str, AccessToken]:
    """Return all access tokens by id; none if the file or the table does not exist.

    Raises:
        StoreError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    uri = f"{path.as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_READ_SECONDS)) as reader:
            if not reader.execute(
                "SELECT 1 FROM sqlite_master WHERE name = ?", [_TABLE]
            ).fetchone():
                return {}
            reader.row_factory = sqlite3.Row
            return {row["id"]: from_row(dict(row)) for row in reader.execute(READ)}
    except (sqlite3.Error, ValueError) as error:
        raise StoreError(f"{path}: {error}") from error


def add(path: Path, token: AccessToken) -> None:
    """Store an access token; creates the database if it does not exist.

    Raises:
        StoreError: the database cannot be written.
    """
    with writing(path) as db:
        db.table(_TABLE).insert(to_row(token))


def revoke(path: Path, name: str) -> list[AccessToken]:
    """Revoke the access token with an id, or all of an actor; return those just revoked.

    Raises:
        StoreError: the database cannot be written.
    """
    with writing(path) as db:
        return [from_row(row) for row in db.query(REVOKE, {"now": now(), "name": name})]
