"""Percentiles of latency, which PostgreSQL calculates by the nearest rank."""

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Latency
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sqlite.reports import latency

_PERCENTILES = "percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY {column})"


def read(connection: Connection, query: RequestQuery) -> Latency:
    """Return the percentiles of a query."""
    sql, values = latency.select(query)
    columns = ", ".join(_PERCENTILES.format(column=name) for name in ("ttft_ms", "duration_ms"))
    count, first_byte, duration = connection.execute(
        f"SELECT count(*), {columns} FROM ({sql}) r",  # noqa: S608
        values,
    ).fetchone()
    ttft_p50, ttft_p95 = first_byte or (None, None)
    p50, p95 = duration or (None, None)
    return Latency(
        requests=count,
        ttft_ms_p50=ttft_p50,
        ttft_ms_p95=ttft_p95,
        duration_ms_p50=p50,
        duration_ms_p95=p95,
    )
