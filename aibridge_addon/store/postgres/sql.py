"""SQL text of each kind of statement, in the dialect of PostgreSQL."""

from aibridge_addon.store.postgres.dialect import translate
from aibridge_addon.store.sql import writes
from aibridge_addon.store.statements import Kind

_SERVER_TIME = (
    """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
)
_CHANGES: dict[Kind, tuple[str, str]] = {
    # The key of usages begins with the interception, by which they are divided into partitions.
    "token_usage": ("ON CONFLICT (id)", "ON CONFLICT (interception_id, id)"),
    # By the clock of the server, so that the clocks of several machines may differ.
    "process_seen": (":seen_at", _SERVER_TIME),
}
SQL = {
    kind: translate(text.replace(*_CHANGES[kind]) if kind in _CHANGES else text)
    for kind, text in writes.SQL.items()
}
