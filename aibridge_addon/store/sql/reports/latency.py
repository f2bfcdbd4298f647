"""Percentiles of latency over completed requests, by the nearest rank, of rounded times.

Whole days are taken from the roll-up, which counts times to 1.6 %; all others are rounded alike, so
that a percentile does not change when its requests are rolled up.
"""

import math
from collections import Counter

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Latency
from aibridge_addon.store.connection import Connection, walk
from aibridge_addon.store.sql import span_latency
from aibridge_addon.store.sql.reports import selection, spans
from aibridge_addon.store.sql.span_latency import MEASUREMENTS, round_ms

type _Counts = dict[str, Counter[int]]
"""Number of requests by measurement and milliseconds."""


def read(connection: Connection, query: RequestQuery) -> Latency:
    """Return the percentiles of a query."""
    columns = selection.rolled_columns(query)
    is_rolled_up = columns is not None and columns <= set(span_latency.KEY_COLUMNS)
    division = (
        spans.divide_without_hours(connection, span_latency.TABLE, query.since, query.until)
        if is_rolled_up
        else spans.read_all(query.since, query.until)
    )
    counts: _Counts = {name: Counter() for name in MEASUREMENTS}
    if division.spans:
        _count_interceptions(connection, query, division, counts)
    if division.rolled is not None:
        _count_rolled_up(connection, query, division.rolled, counts)
    first_byte, duration = counts["ttft"], counts["duration"]
    return Latency(
        requests=duration.total(),
        ttft_ms_p50=_percentile(first_byte, 0.5),
        ttft_ms_p95=_percentile(first_byte, 0.95),
        duration_ms_p50=_percentile(duration, 0.5),
        duration_ms_p95=_percentile(duration, 0.95),
    )


def _count_interceptions(
    connection: Connection, query: RequestQuery, division: spans.Division, counts: _Counts
) -> None:
    chosen = selection.of_interceptions(query)
    source = spans.interceptions(division, chosen, hidden=bool(query.sessions))
    chosen.add("i.status = 'completed'")
    sql = (
        f"SELECT {', '.join(MEASUREMENTS.values())} FROM {source}"  # noqa: S608
        f" WHERE {' AND '.join(chosen.conditions)}"
    )
    exact: list[Counter[int | None]] = [Counter() for _ in MEASUREMENTS]
    # Counting here is faster than a GROUP BY for each, which sorts all requests.
    for times in walk(connection, sql, chosen.values):
        for found, time in zip(exact, times, strict=True):
            found[time] += 1
    for name, found in zip(MEASUREMENTS, exact, strict=True):
        for time, requests in found.items():
            if time is not None:
                counts[name][round_ms(time)] += requests


def _count_rolled_up(
    connection: Connection, query: RequestQuery, rolled: dict[str, str], counts: _Counts
) -> None:
    chosen = selection.of_rollup(query)
    where = f" WHERE {' AND '.join(chosen.conditions)}" if chosen.conditions else ""
    source = spans.span_source(span_latency.TABLE)
    for name, time, requests in connection.execute(
        f"SELECT measurement, ms, sum(requests) FROM {source}{where} GROUP BY 1, 2",  # noqa: S608
        chosen.values | rolled,
    ):
        counts[name][time] += requests


def _percentile(counts: Counter[int], share: float) -> int | None:
    rank = math.ceil(share * counts.total())
    for milliseconds, count in sorted(counts.items()):
        rank -= count
        if rank <= 0:
            return milliseconds
    return None
