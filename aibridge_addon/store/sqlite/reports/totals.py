"""Totals: figures of groups of requests, from the roll-up as far as it is fresh."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aibridge_addon.report.queries import TIME_GROUPINGS, TotalsQuery
from aibridge_addon.report.rows import GroupRow, Totals
from aibridge_addon.store.sqlite.figures import MEASURES, requests_sql
from aibridge_addon.store.sqlite.reports import groups, selection, spans
from aibridge_addon.store.sqlite.reports.figures_rows import (
    SUMS,
    SUMS_OF_SUMS,
    TopModels,
    to_figures,
)
from aibridge_addon.store.sqlite.reports.selection import Selection

_WEIGHT = "coalesce(cost, 0) + coalesce(list_price, 0)"
_HEAVIEST_FIRST = (f"{_WEIGHT} DESC", "output DESC", "requests DESC")


def read(connection: sqlite3.Connection, query: TotalsQuery) -> Totals:
    """Return the totals of a query."""
    groups.check(query)
    prepare(connection)
    ((_, *overall),) = _grouped(connection, query, ())
    rows = _grouped(connection, query, query.by) if query.by else []
    if _is_by_time(query.by):
        rows.sort(key=lambda row: str(row[1]))
    return Totals(
        rows=tuple(_to_group(row[1:], len(query.by)) for row in rows),
        more=rows[0][0] - len(rows) if rows else 0,
        overall=to_figures(overall),
    )


def prepare(connection: sqlite3.Connection) -> None:
    """Define the function that `summed` calls."""
    connection.create_aggregate("top_models", 2, TopModels)  # type: ignore[arg-type]


def _to_group(row: Sequence[Any], width: int) -> GroupRow:
    names = tuple(name or None for name in row[:width])
    return GroupRow(names=names, figures=to_figures(row[width:]))


def _is_by_time(by: tuple[str, ...]) -> bool:
    """Return True if the first grouping is a time: then a limit leaves out the oldest groups."""
    return bool(by) and by[0] in TIME_GROUPINGS


def _grouped(
    connection: sqlite3.Connection, query: TotalsQuery, by: tuple[str, ...]
) -> list[tuple[Any, ...]]:
    """Return a row for each group: the number of groups, its names and its sums."""
    sql, values = statement(connection, query, by)
    return connection.execute(sql, values).fetchall()


def statement(
    connection: sqlite3.Connection, query: TotalsQuery, by: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """Return the SELECT of the sums by some groupings, and the values of its parameters."""
    division = _divide(connection, query, by)
    sources: list[str] = []
    values: dict[str, Any] = {"limit": -1 if query.limit is None else query.limit}
    if division.spans:
        chosen = selection.of_interceptions(query)
        sources.append(_from_interceptions(query, by, division, chosen))
        values |= chosen.values
    if division.rolled is not None:
        chosen = selection.of_rollup(query)
        sources.append(_from_rollup(by, chosen))
        values |= chosen.values | division.rolled  # both number the same filters alike
    return summed(" UNION ALL ".join(sources), by), values


def _divide(
    connection: sqlite3.Connection, query: TotalsQuery, by: tuple[str, ...]
) -> spans.Division:
    offset = datetime.now().astimezone().utcoffset()
    splits_hours = "hour" in by and offset is not None and offset.seconds % 3600 > 0
    rolled = selection.is_rolled_up(query) and all(map(groups.is_rolled_up, by))
    if not rolled or splits_hours:
        return spans.read_all(query.since, query.until)
    by_day = not TIME_GROUPINGS.isdisjoint(by)
    return spans.divide(connection, query.since, query.until, by_local_day=by_day)


def _from_interceptions(
    query: TotalsQuery, by: tuple[str, ...], division: spans.Division, chosen: Selection
) -> str:
    """Return the SELECT of the interceptions in the spans of a division."""
    column = (
        "+i.started_at" if query.sessions else "i.started_at"
    )  # the index of sessions is better
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


def _from_rollup(by: tuple[str, ...], chosen: Selection) -> str:
    columns = columns_of([groups.rollup_sql(name) for name in by], "latest")
    conditions = " AND ".join([spans.ROLLED, *chosen.conditions])
    return f"SELECT {columns} FROM aibridge_hourly i WHERE {conditions}"  # noqa: S608


def columns_of(names: list[str], latest: str) -> str:
    named = [f"{name} AS name{index}" for index, name in enumerate(names)]
    measures = [f"i.{name} AS {name}" for name in ("model", "credential_kind", *MEASURES)]
    return ", ".join([*named, *measures, f"i.{latest} AS latest"])


def summed(parts: str, by: tuple[str, ...]) -> str:
    """Return the SELECT that sums up parts by model, and then by group."""
    names = [f"name{index}" for index in range(len(by))]
    by_model = (
        f"SELECT {', '.join([*names, 'model', *SUMS])} FROM ({parts})"  # noqa: S608
        f" GROUP BY {', '.join([*names, 'model'])}"
    )
    sums = f"SELECT {', '.join([*names, *SUMS_OF_SUMS])} FROM ({by_model})"  # noqa: S608
    if not names:
        return f"SELECT 1, * FROM ({sums})"  # noqa: S608
    order = ", ".join(_order(by))
    return (
        f"SELECT count(*) OVER (), * FROM ({sums} GROUP BY {', '.join(names)})"  # noqa: S608
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
