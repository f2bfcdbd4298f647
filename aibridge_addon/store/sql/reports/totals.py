"""Totals: figures of groups of requests, from the roll-up as far as it is fresh."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.queries import TIME_GROUPINGS, RequestQuery, TotalsQuery
from aibridge_addon.report.rows import Totals
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.cubes import JOIN_TOOLS, TOOL_SQL, Cube, smallest
from aibridge_addon.store.sql.figures import MEASURES, requests_sql
from aibridge_addon.store.sql.reports import (
    groups,
    levels,
    selection,
    spans,
    unpriced_reasons,
)
from aibridge_addon.store.sql.reports.levels import Groups, Level
from aibridge_addon.store.sql.reports.selection import Selection

_ALWAYS = frozenset({"model", "credential_kind"})
"""Columns of the roll-up that all sums need."""
_WEIGHT = "coalesce(cost, 0) + coalesce(list_price, 0)"
HEAVIEST_FIRST = (f"{_WEIGHT} DESC", "output DESC", "requests DESC")


def read(connection: Connection, query: TotalsQuery) -> Totals:
    """Return the totals of a query."""
    groups.check(query)
    by = query.by
    level = Level(_names(len(by)), _order(by), query.limit) if by else Level()
    if "tool" in by:  # a request has a group for each tool
        (found,) = read_levels(connection, query, by, [level])
        (whole,) = read_levels(connection, query, (), [Level()])
    else:
        found, whole = read_levels(connection, query, by, [level, Level()])
    rows = found.rows if by else []
    if by and by[0] in TIME_GROUPINGS:  # a limit left out the oldest ones
        rows.sort(key=lambda row: str(row.names[0] or ""))
    overall = whole.rows[0].figures
    if overall.unpriced:
        reasons = unpriced_reasons.read(connection, query)
        overall = unpriced_reasons.with_reasons(overall, reasons)
        rows = [
            replace(row, figures=unpriced_reasons.with_reasons(row.figures, reasons))
            for row in rows
        ]
    return Totals(rows=tuple(rows), more=found.more, overall=overall)


def read_levels(
    connection: Connection, query: RequestQuery, by: tuple[str, ...], chosen: Sequence[Level]
) -> list[Groups]:
    """Sum up the requests of a query by some groupings and model, and from there to levels."""
    parts, values = _parts(connection, query, by)
    return levels.read(connection, parts, values, len(by), chosen)


def session_figures(connection: Connection, chosen: Selection) -> Figures:
    """Return the figures of the interceptions that meet conditions."""
    requests = requests_sql("aibridge_interceptions i", chosen.conditions, {})
    parts = f"SELECT {_columns_of([], 'started_at')} FROM ({requests}) i"  # noqa: S608
    (whole,) = levels.read(connection, parts, chosen.values, 0, [Level()])
    return whole.rows[0].figures


def _names(width: int) -> tuple[str, ...]:
    return tuple(f"name{index}" for index in range(width))


def _parts(
    connection: Connection, query: RequestQuery, by: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """Return the SELECT of the rows to sum up, and the values of its parameters."""
    cube = _cube(query, by)
    division = (
        spans.divide(
            connection, cube.table, query.since, query.until, TIME_GROUPINGS.intersection(by)
        )
        if cube
        else spans.read_all(query.since, query.until)
    )
    sources: list[str] = []
    values: dict[str, Any] = {}
    if division.spans:
        chosen = selection.of_interceptions(query)
        sources.append(_from_interceptions(query, by, division, chosen))
        values |= chosen.values
    if cube and division.rolled is not None:
        chosen = selection.of_rollup(query)
        sources += _from_rollup(by, cube, chosen)
        values |= chosen.values | division.rolled  # both number the same filters alike
    return " UNION ALL ".join(sources), values


def _cube(query: RequestQuery, by: tuple[str, ...]) -> Cube | None:
    """Return the part of the roll-up that answers a query; None: the roll-up cannot."""
    offset = datetime.now().astimezone().utcoffset()
    splits_hours = "hour" in by and offset is not None and offset.seconds % 3600 > 0
    filtered, named = selection.rolled_columns(query), groups.rolled_columns(by)
    if splits_hours or filtered is None or named is None or (query.tools and "tool" in by):
        return None
    return smallest(_ALWAYS | filtered | named)


def _from_interceptions(
    query: RequestQuery, by: tuple[str, ...], division: spans.Division, chosen: Selection
) -> str:
    """Return the SELECT of the interceptions in the spans of a division."""
    names = {
        f"name{index}": groups.raw_sql(name, selection.member_sql(chosen, name))
        for index, name in enumerate(by)
        if name != "tool"
    }
    source = spans.interceptions(division, chosen, hidden=bool(query.sessions))
    requests = requests_sql(source, chosen.conditions, names)
    columns = [TOOL_SQL if name == "tool" else f"name{i}" for i, name in enumerate(by)]
    tools = JOIN_TOOLS if "tool" in by else ""
    return f"SELECT {_columns_of(columns, 'started_at')} FROM ({requests}) i{tools}"  # noqa: S608


def _from_rollup(by: tuple[str, ...], cube: Cube, chosen: Selection) -> Iterator[str]:
    """Yield the SELECTs of the rows of whole days and more, and of the hours between them."""
    where = f" WHERE {' AND '.join(chosen.conditions)}" if chosen.conditions else ""
    sources = [(spans.hour_source(cube.hours.table), "i.hour")]
    if cube.table:
        sources.append((spans.span_source(cube.table), "i.begin_hour"))
    for source, time in sources:
        columns = _columns_of([groups.rollup_sql(name, time) for name in by], "latest")
        yield f"SELECT {columns} FROM {source}{where}"  # noqa: S608


def _columns_of(names: list[str], latest: str) -> str:
    named = [f"{name} AS name{index}" for index, name in enumerate(names)]
    measures = [f"i.{name} AS {name}" for name in ("model", "credential_kind", *MEASURES)]
    return ", ".join([*named, *measures, f"i.{latest} AS latest"])


def _order(by: tuple[str, ...]) -> tuple[str, ...]:
    first, *others = by
    if first in TIME_GROUPINGS:
        order = ["name0 DESC"]
    elif others:
        sums = (f"sum({column}) OVER (PARTITION BY name0) DESC" for column in (_WEIGHT, "output"))
        order = [*sums, "name0"]
    else:
        return (*HEAVIEST_FIRST, "name0")
    if others and others[0] in TIME_GROUPINGS:
        return (*order, "name1")
    return (*order, *HEAVIEST_FIRST, *["name1"] * len(others))
