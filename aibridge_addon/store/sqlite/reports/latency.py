"""Percentiles of latency over completed requests, by the nearest rank."""

import math
import sqlite3
from collections.abc import Sequence

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Latency
from aibridge_addon.store.sqlite.reports import selection

DURATION_MS = "CAST(round((julianday(i.ended_at) - julianday(i.started_at)) * 86400000) AS INTEGER)"
"""SQL of the duration of an interception `i`; null while it is open."""

type _Counts = Sequence[tuple[int, int]]
"""Milliseconds with the number of requests, in order."""


def read(connection: sqlite3.Connection, query: RequestQuery) -> Latency:
    """Return the percentiles of a query."""
    ttft = _counts(connection, query, "i.ttft_ms")
    duration = _counts(connection, query, DURATION_MS)
    return Latency(
        requests=sum(count for _, count in duration),
        ttft_ms_p50=_percentile(ttft, 0.5),
        ttft_ms_p95=_percentile(ttft, 0.95),
        duration_ms_p50=_percentile(duration, 0.5),
        duration_ms_p95=_percentile(duration, 0.95),
    )


def _counts(connection: sqlite3.Connection, query: RequestQuery, milliseconds: str) -> _Counts:
    chosen = selection.of_interceptions(query)
    chosen.add_period(query.since, query.until, hidden=bool(query.sessions))
    chosen.add("i.status = 'completed'")
    sql = (
        f"SELECT {milliseconds} AS ms, count(*) FROM aibridge_interceptions i"  # noqa: S608
        f" WHERE {' AND '.join(chosen.conditions)} AND ms IS NOT NULL GROUP BY ms ORDER BY ms"
    )
    return connection.execute(sql, chosen.values).fetchall()


def _percentile(counts: _Counts, share: float) -> int | None:
    rank = math.ceil(share * sum(count for _, count in counts))
    for milliseconds, count in counts:
        rank -= count
        if rank <= 0:
            return milliseconds
    return None
