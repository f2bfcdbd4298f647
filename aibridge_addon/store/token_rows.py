"""Rows of access tokens: the same in every database."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from aibridge_addon.access.tokens import AccessToken

_FIELDS = frozenset(field.name for field in fields(AccessToken))
READ = "SELECT * FROM aibridge_tokens ORDER BY created_at"
REVOKE = (
    "UPDATE aibridge_tokens SET revoked_at = :now"
    " WHERE revoked_at IS NULL AND :name IN (id, initiator_id) RETURNING *"
)
"""Revokes the access token with an id, or all of an actor."""


def to_row(token: AccessToken) -> dict[str, Any]:
    """Return the values of the columns of an access token."""
    lists = {"providers": json.dumps(token.providers), "models": json.dumps(token.models)}
    return asdict(token) | lists


def from_row(row: Mapping[str, Any]) -> AccessToken:
    """Return the access token of a row.

    Another version may have created the table: fields without a column have their default.
    """
    values: dict[str, Any] = {name: value for name, value in row.items() if name in _FIELDS}
    values["admin"] = bool(values.get("admin"))
    for name in ("providers", "models"):
        values[name] = tuple(json.loads(values[name]))
    return AccessToken(**values)
