"""Models that were called, with the prices that were found for them."""

from aibridge_addon.report.rows import PricedModelRow
from aibridge_addon.store.connection import Connection

_QUERY = """
SELECT i.provider_name,
    COALESCE(u.model, CASE WHEN json_extract(u.metadata, '$.call') IS NULL THEN i.model END),
    u.price_source, u.unpriced_reason, count(*),
    sum(u.cost_nano_usd) FILTER (WHERE i.credential_kind IS NOT 'subscription'),
    sum(u.cost_nano_usd) FILTER (WHERE i.credential_kind = 'subscription'),
    max(u.created_at)
FROM aibridge_token_usages u JOIN aibridge_interceptions i ON i.id = u.interception_id
WHERE i.started_at >= :since
GROUP BY 1, 2, 3, 4
ORDER BY 5 DESC, 1, 2 NULLS FIRST
LIMIT :most
"""
_MOST = 10_000
"""Rows; models are named by clients."""


def read_priced_models(connection: Connection, since: str) -> list[PricedModelRow]:
    """Return the models that were called since a time, those with the most calls first."""
    return [
        PricedModelRow(
            provider=provider,
            model=model,
            source=source,
            reason=reason,
            calls=calls,
            cost_nano_usd=cost,
            list_price_nano_usd=list_price,
            latest=latest,
        )
        for provider, model, source, reason, calls, cost, list_price, latest in (
            connection.execute(_QUERY, {"since": since, "most": _MOST})
        )
    ]
