"""The table of access tokens, which `aibridge token` writes and the proxy reads.

A token is never deleted: lists show who once had access, and a proxy that required tokens goes on
to require them.
"""

import contextlib
import json
import sqlite3
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.facts import now
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.writing import writing

_TABLE = "aibridge_tokens"
_FIELDS = frozenset(field.name for field in fields(AccessToken))
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
            rows = reader.execute(f"SELECT * FROM {_TABLE} ORDER BY created_at")  # noqa: S608
            return {row["id"]: _from_row(row) for row in rows}
    except (sqlite3.Error, ValueError) as error:
        raise StoreError(f"{path}: {error}") from error


def add(path: Path, token: AccessToken) -> None:
    """Store an access token; creates the database if it does not exist.

    Raises:
        StoreError: the database cannot be written.
    """
    with writing(path) as db:
        db.table(_TABLE).insert(
            asdict(token)
            | {"providers": json.dumps(token.providers), "models": json.dumps(token.models)}
        )


def revoke(path: Path, name: str) -> list[AccessToken]:
    """Revoke the access token with an id, or all of an actor; return those just revoked.

    Raises:
        StoreError: the database cannot be written.
    """
    with writing(path) as db:
        rows = db.query(
            f"UPDATE {_TABLE} SET revoked_at = :now"  # noqa: S608
            " WHERE revoked_at IS NULL AND :name IN (id, initiator_id) "
            " RETURNING *",
            {"now": now(), "name": name},
        )
        return [_from_row(row) for row in rows]


def _from_row(row: "sqlite3.Row | dict[str, str]") -> AccessToken:
    # Another version may have written the file: fields without a column have their default.
    values: dict[str, Any] = {name: value for name, value in dict(row).items() if name in _FIELDS}
    values["admin"] = bool(values.get("admin"))
    for name in ("providers", "models"):
        values[name] = tuple(json.loads(values[name]))
    return AccessToken(**values)
