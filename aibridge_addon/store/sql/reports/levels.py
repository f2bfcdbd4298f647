"""Sums requests up once, and from there to several levels: groups of groups, and the total."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aibridge_addon.report.rows import GroupRow
from aibridge_addon.store.connection import ALL, Connection
from aibridge_addon.store.sql.reports.figures_rows import SUMS, SUMS_OF_SUMS, to_figures

_DESC = " DESC"


@dataclass(frozen=True, slots=True)
class Level:
    """Groups by some columns of the sums: `name0` and so on, or `model`."""

    columns: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    """Expressions of the columns and sums."""
    limit: int | None = None
    """Most groups to return."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a level."""

    rows: list[GroupRow]
    more: int
    """Number of groups that the limit leaves out."""


def read(
    connection: Connection,
    parts: str,
    values: Mapping[str, Any],
    width: int,
    levels: Sequence[Level],
) -> list[Groups]:
    """Return the levels of the sums of a SELECT that has `width` names."""
    limits = {f"limit{n}": ALL if x.limit is None else x.limit for n, x in enumerate(levels)}
    most = max(len(level.columns) for level in levels)
    selects = " UNION ALL ".join(_select(n, level, most) for n, level in enumerate(levels))
    found: list[Groups] = [Groups([], 0) for _ in levels]
    for number, _, groups, *row in connection.execute(
        f"WITH m AS MATERIALIZED ({by_model(parts, width)}) {selects} ORDER BY level, place",
        {**values, **limits},
    ):
        names = tuple(name or None for name in row[: len(levels[number].columns)])
        rows = found[number].rows
        rows.append(GroupRow(names=names, figures=to_figures(row[most:])))
        found[number] = Groups(rows, groups - len(rows))
    return found


def by_model(parts: str, width: int) -> str:
    """Return the SELECT that sums up parts by their names and model."""
    names = [f"name{index}" for index in range(width)]
    return (
        f"SELECT {', '.join([*names, 'model', *SUMS])} FROM ({parts}) a"  # noqa: S608
        f" GROUP BY {', '.join([*names, 'model'])}"
    )


def _select(number: int, level: Level, most: int) -> str:
    columns = ", ".join(level.columns)
    grouped = f" GROUP BY {columns}" if columns else ""
    names = [*level.columns, *["''"] * (most - len(level.columns))]
    shown = "".join(f"{name} AS c{index}, " for index, name in enumerate(names))
    sums = ", ".join(each.rpartition(" AS ")[2] for each in SUMS_OF_SUMS)
    # The keys have columns of their own, since a window cannot be ordered by another window.
    keys = [f"{key.removesuffix(_DESC)} AS o{index}" for index, key in enumerate(level.order)]
    order = ", ".join(
        f"o{index}{_DESC * key.endswith(_DESC)}" for index, key in enumerate(level.order)
    )
    place = f"row_number() OVER ({f'ORDER BY {order}' if order else ''})"
    return (
        f"SELECT * FROM (SELECT {number} AS level, {place} AS place, count(*) OVER () AS number,"  # noqa: S608
        f" {shown}{sums} FROM (SELECT {', '.join(('s.*', *keys))} FROM"
        f" (SELECT {', '.join((*level.columns, *SUMS_OF_SUMS))} FROM m{grouped}) s) k) l{number}"
        f" WHERE place <= :limit{number}"
    )
