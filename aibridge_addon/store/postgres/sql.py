"""SQL text of each kind of statement, in the dialect of PostgreSQL."""

from aibridge_addon.store.postgres.dialect import translate
from aibridge_addon.store.sql import writes

_KEY = "ON CONFLICT (id) DO UPDATE"
SQL = {
    kind: translate(
        text.replace(_KEY, "ON CONFLICT (interception_id, id) DO UPDATE")
        if kind == "token_usage"
        else text
    )
    for kind, text in writes.SQL.items()
}
"""The key of usages begins with the interception, by which they are divided into partitions."""
