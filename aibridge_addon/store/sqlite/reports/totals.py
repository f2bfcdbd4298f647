"""Totals: figures of groups of requests, from the roll-up as far as it is fresh."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.queries import TIME_GROUPINGS, TotalsQuery
from aibridge_addon.report.rows import GroupRow, Totals
from aibridge_addon.store.connection import ALL, Connection
from aibridge_addon.store.sqlite.figures import MEASURES, requests_sql
from aibridge_addon.store.sqlite.reports import groups, selection, spans
from aibridge_addon.store.sqlite.reports.figures_rows import (
    MOST_MODELS,
    SUMS,
    SUMS_OF_SUMS,
    to_figures,
)
from aibridge_addon.store.sqlite.reports.selection import Selection

type Names = tuple[str | None, ...]
"""A name for each grouping; empty: none."""

_WEIGHT = "coalesce(cost, 0) + coalesce(list_price, 0)"
_HEAVIEST_FIRST = (f"{_WEIGHT} DESC", "output DESC", "requests DESC")


def read(connection: Connection, query: TotalsQuery) -> Totals:
    """Return the totals of a query."""
    groups.check(query)
    rows, more = grouped_rows(connection, query) if query.by else ([], 0)
    return Totals(rows=tuple(rows), more=more, overall=_overall(connection, query))


def grouped_rows(connection: Connection, query: TotalsQuery) -> tuple[list[GroupRow], int]:
    """Return the rows of a query's groups, and the number of groups that its limit leaves out."""
    parts, values = _parts(connection, query, query.by)
    rows = connection.execute(summed(parts, query.by), values).fetchall()
    if query.by[0] in TIME_GROUPINGS:  # a limit left out the oldest ones
        rows.sort(key=lambda row: str(row[1]))
    more = rows[0][0] - len(rows) if rows else 0
    return [_to_group(row[1:], len(query.by)) for row in rows], more


def group_names(connection: Connection, query: TotalsQuery) -> list[Names]:
    """Return the names of a query's groups, most requests first."""
    parts, values = _parts(connection, query, query.by)
    names = ", ".join(f"name{index}" for index in range(len(query.by)))
    return connection.execute(
        f"SELECT {names} FROM ({parts}) p GROUP BY {names}"  # noqa: S608
        f" ORDER BY sum(requests) DESC, {names} LIMIT :limit",
        values,
    ).fetchall()


def _overall(connection: Connection, query: TotalsQuery) -> Figures:
    """Return the figures of all requests; sorts nothing but unpriced ones."""
    parts, values = _parts(connection, query, ())
    columns = ", ".join(SUMS)
    sums = connection.execute(f"SELECT {columns} FROM ({parts}) p", values).fetchone()  # noqa: S608
    models = connection.execute(
        "SELECT coalesce(nullif(model, ''), 'unknown') AS name FROM"  # noqa: S608
        f" ({parts}) p WHERE unpriced > 0 GROUP BY name ORDER BY sum(unpriced) DESC, name"
        f" LIMIT {MOST_MODELS}",
        values,
    )
    return to_figures([*sums, json.dumps([name for (name,) in models])])


def _to_group(row: Sequence[Any], width: int) -> GroupRow:
    names = tuple(name or None for name in row[:width])
    return GroupRow(names=names, figures=to_figures(row[width:]))


def _parts(
    connection: Connection, query: TotalsQuery, by: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """Return the SELECT of the rows to sum up, and the values of its parameters."""
    division = _divide(connection, query, by)
    sources: list[str] = []
    values: dict[str, Any] = {"limit": ALL if query.limit is None else query.limit}
    if division.spans:
        chosen = selection.of_interceptions(query)
        sources.append(_from_interceptions(query, by, division, chosen))
        values |= chosen.values
    if division.rolled is not None:
        chosen = selection.of_rollup(query)
        sources += _from_rollup(by, chosen)
        values |= chosen.values | division.rolled  # both number the same filters alike
    return " UNION ALL ".join(sources), values


def _divide(connection: Connection, query: TotalsQuery, by: tuple[str, ...]) -> spans.Division:
    offset = datetime.now().astimezone().utcoffset()
    splits_hours = "hour" in by and offset is not None and offset.seconds % 3600 > 0
    rolled = selection.is_rolled_up(query) and all(map(groups.is_rolled_up, by))
    if not rolled or splits_hours:
        return spans.read_all(query.since, query.until)
    return spans.divide(connection, query.since, query.until, TIME_GROUPINGS.intersection(by))


def _from_interceptions(
    query: TotalsQuery, by: tuple[str, ...], division: spans.Division, chosen: Selection
) -> str:
    """Return the SELECT of the interceptions in the spans of a division."""
    # The plus keeps SQLite from using the index of starts: that of sessions is the better one.
    column = "+i.started_at" if query.sessions else "i.started_at"
    names = {
        f"name{index}": groups.raw_sql(name, selection.member_sql(chosen, name))
        for index, name in enumerate(by)
        if name != "tool"
    }
    source = _spanned(division, chosen, column)
    requests = requests_sql(source, chosen.conditions, names)
    columns = [groups.TOOL_SQL if name == "tool" else f"name{i}" for i, name in enumerate(by)]
    tools = groups.JOIN_TOOLS if "tool" in by else ""
    return f"SELECT {columns_of(columns, 'started_at')} FROM ({requests}) i{tools}"  # noqa: S608


def _spanned(division: spans.Division, chosen: Selection, column: str) -> str:
    """Add the conditions of the spans; return the source of the interceptions."""
    if len(division.spans) == 1:
        ((begin, end),) = division.spans
        chosen.add(f"{column} >= {chosen.bind(begin)} AND {column} < {chosen.bind(end)}")
        return "aibridge_interceptions i"
    begin, end = ("json_extract(s.value, '$[0]')", "json_extract(s.value, '$[1]')")
    chosen.add(f"{column} >= {begin} AND {column} < {end}")
    chosen.values["spans"] = json.dumps(division.spans)
    return "json_each(:spans) s CROSS JOIN aibridge_interceptions i"


def _from_rollup(by: tuple[str, ...], chosen: Selection) -> Iterator[str]:
    """Yield the SELECTs of the rows of days and months, and of the hours between them."""
    where = f" WHERE {' AND '.join(chosen.conditions)}" if chosen.conditions else ""
    for source, time in ((spans.SPAN_SOURCE, "i.begin_hour"), (spans.HOUR_SOURCE, "i.hour")):
        columns = columns_of([groups.rollup_sql(name, time) for name in by], "latest")
        yield f"SELECT {columns} FROM {source}{where}"  # noqa: S608


def columns_of(names: list[str], latest: str) -> str:
    named = [f"{name} AS name{index}" for index, name in enumerate(names)]
    measures = [f"i.{name} AS {name}" for name in ("model", "credential_kind", *MEASURES)]
    return ", ".join([*named, *measures, f"i.{latest} AS latest"])


def summed(parts: str, by: tuple[str, ...]) -> str:
    """Return the SELECT that sums up parts by model, and then by group."""
    names = [f"name{index}" for index in range(len(by))]
    by_model = (
        f"SELECT {', '.join([*names, 'model', *SUMS])} FROM ({parts}) p"  # noqa: S608
        f" GROUP BY {', '.join([*names, 'model'])}"
    )
    sums = f"SELECT {', '.join([*names, *SUMS_OF_SUMS])} FROM ({by_model}) m"  # noqa: S608
    if not names:
        return f"SELECT 1, s.* FROM ({sums}) s"  # noqa: S608
    order = ", ".join(_order(by))
    return (
        f"SELECT count(*) OVER (), s.* FROM ({sums} GROUP BY {', '.join(names)}) s"  # noqa: S608
        f" ORDER BY {order} LIMIT :limit"
    )


def _order(by: tuple[str, ...]) -> list[str]:
    first, *others = by
    if first in TIME_GROUPINGS:
        order = ["name0 DESC"]
    elif others:
        sums = (f"sum({column}) OVER (PARTITION BY name0) DESC" for column in (_WEIGHT, "output"))
        order = [*sums, "name0"]
    else:
        return [*_HEAVIEST_FIRST, "name0"]
    if others and others[0] in TIME_GROUPINGS:
        return [*order, "name1"]
    return [*order, *_HEAVIEST_FIRST, *["name1"] * len(others)]
