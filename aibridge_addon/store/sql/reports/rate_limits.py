"""Rate limits as seen last."""

from aibridge_addon.report.rows import RateLimitRow
from aibridge_addon.store.connection import Connection

_QUERY = """
SELECT provider_name, credential_kind, credential_hint, initiator_id, header, value, seen_at
FROM aibridge_rate_limits ORDER BY seen_at DESC, header LIMIT :most
"""
_MOST = 20_000
"""Rows; the table has a row for each header of each credential and actor."""


def read_rate_limits(connection: Connection) -> list[RateLimitRow]:
    """Return the newest rows."""
    return [
        RateLimitRow(
            provider=provider,
            credential_kind=kind or None,
            credential_hint=hint or None,
            actor=actor,
            header=header,
            value=value,
            seen_at=seen_at,
        )
        for provider, kind, hint, actor, header, value, seen_at in connection.execute(
            _QUERY, {"most": _MOST}
        )
    ]
