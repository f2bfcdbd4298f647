"""Reasons why requests have no price, for figures whose roll-up has the models alone."""

from collections.abc import Mapping
from dataclasses import replace

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports import selection

_MOST_REQUESTS = 200
"""Requests of a period, the newest ones, whose reasons are looked up: the time stays bounded."""
_MOST_REASONS = 5

type Reasons = Mapping[str, tuple[str, ...]]
"""By the requested model."""


def with_reasons(figures: Figures, reasons: Reasons) -> Figures:
    """Return figures with the reasons of their unpriced models."""
    found = dict.fromkeys(one for name in figures.unpriced_models for one in reasons.get(name, ()))
    return replace(figures, unpriced_reasons=tuple(found)[:_MOST_REASONS]) if found else figures


def read(connection: Connection, query: RequestQuery) -> Reasons:
    """Return the reasons of the newest requests, the most frequent ones first."""
    chosen = selection.of_interceptions(query)
    filters = len(chosen.conditions)
    chosen.add_period(query.since, query.until)
    period = " AND ".join(chosen.conditions[filters:]) or "TRUE"
    newest = (
        f"SELECT i.id FROM aibridge_interceptions i WHERE {period}"  # noqa: S608
        f" ORDER BY i.started_at DESC LIMIT {_MOST_REQUESTS}"
    )
    conditions = " AND ".join([f"i.id IN ({newest})", *chosen.conditions[:filters]])
    # One look-up for each request: a join would let PostgreSQL read whole partitions.
    reason = (
        "SELECT max(t.unpriced_reason) FROM aibridge_token_usages t WHERE t.interception_id = i.id"
    )
    requests = (
        f"SELECT coalesce(nullif(i.model, ''), 'unknown') AS model, ({reason}) AS reason"  # noqa: S608
        f" FROM aibridge_interceptions i WHERE {conditions}"
    )
    sql = (
        f"SELECT model, reason FROM ({requests}) y WHERE reason IS NOT NULL"  # noqa: S608
        " GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2"
    )
    found: dict[str, tuple[str, ...]] = {}
    for model, reason in connection.execute(sql, chosen.values):
        found[model] = (*found.get(model, ()), reason)
    return found
