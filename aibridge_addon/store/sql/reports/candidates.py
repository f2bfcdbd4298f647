"""Finds in the roll-up where requests that meet filters can be, so that lists need not search all.

Filters of single actors have an index, and need no search.
"""

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.cubes import smallest
from aibridge_addon.store.sql.reports import selection, spans
from aibridge_addon.store.sql.reports.spans import Span


def newest_first(connection: Connection, query: RequestQuery, before: str = "") -> list[Span]:
    """Return spans of time, newest first, in which all requests of a query started.

    Other requests may have started in them too. With `before`, only those that started until then
    are wanted.
    """
    columns = selection.keyed_columns(query)
    cube = smallest(columns) if columns and "initiator_id" not in columns else None
    if cube is None:
        return list(spans.read_all(query.since, query.until).spans)
    division = spans.divide(connection, cube.table, query.since, query.until, ())
    found = list(division.spans)
    if division.rolled is not None:
        chosen = selection.of_rollup(query)
        where = " AND ".join(chosen.conditions)
        values = chosen.values | division.rolled
        found += connection.execute(
            "SELECT DISTINCT i.begin_hour, i.end_hour"  # noqa: S608
            f" FROM {spans.span_source(cube.table)} WHERE {where}",
            values,
        ).fetchall()
        hours = connection.execute(
            f"SELECT DISTINCT i.hour FROM {spans.hour_source(cube.hours.table)} WHERE {where}",  # noqa: S608
            values,
        )
        found += [(hour, spans.after(hour)) for (hour,) in hours]
    joined = spans.joined(sorted(found))
    return [span for span in joined if not before or span[0] <= before][::-1]
