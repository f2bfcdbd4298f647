"""Percentiles of latency over completed requests, by the nearest rank."""

import math
from collections import Counter

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Latency
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sqlite.reports import selection

DURATION_MS = "CAST(round((julianday(i.ended_at) - julianday(i.started_at)) * 86400000) AS BIGINT)"
"""SQL of the duration of an interception `i`; null while it is open."""

type _Counts = Counter[int]
"""Number of requests by milliseconds."""


def read(connection: Connection, query: RequestQuery) -> Latency:
    """Return the percentiles of a query."""
    sql, values = select(query)
    first_byte: _Counts = Counter()
    duration: _Counts = Counter()
    # Counting here is faster than a GROUP BY for each, which sorts all requests.
    for ttft_ms, duration_ms in connection.execute(sql, values):
        first_byte[ttft_ms] += 1
        duration[duration_ms] += 1
    return Latency(
        requests=duration.total(),
        ttft_ms_p50=_percentile(first_byte, 0.5),
        ttft_ms_p95=_percentile(first_byte, 0.95),
        duration_ms_p50=_percentile(duration, 0.5),
        duration_ms_p95=_percentile(duration, 0.95),
    )


def select(query: RequestQuery) -> tuple[str, dict[str, str]]:
    """Return the SELECT of the latencies of completed requests, and its values."""
    chosen = selection.of_interceptions(query)
    chosen.add_period(query.since, query.until, hidden=bool(query.sessions))
    chosen.add("i.status = 'completed'")
    sql = (
        f"SELECT i.ttft_ms, {DURATION_MS} AS duration_ms FROM aibridge_interceptions i"  # noqa: S608
        f" WHERE {' AND '.join(chosen.conditions)}"
    )
    return sql, chosen.values


def _percentile(counts: _Counts, share: float) -> int | None:
    known = sorted((ms, count) for ms, count in counts.items() if ms is not None)
    rank = math.ceil(share * sum(count for _, count in known))
    for milliseconds, count in known:
        rank -= count
        if rank <= 0:
            return milliseconds
    return None
