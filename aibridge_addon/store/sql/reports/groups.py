"""SQL of the groupings of totals."""

from collections.abc import Iterable, Mapping

from aibridge_addon.report.queries import (
    GROUPINGS,
    MAX_GROUPINGS,
    METADATA_PREFIX,
    TIME_GROUPINGS,
    TotalsQuery,
)
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sql.cubes import SESSION_SQL
from aibridge_addon.store.sql.figures import KEYS

_TIMES: Mapping[str, str] = {
    "hour": "strftime('%Y-%m-%d %H:00', {time}, 'localtime')",
    "day": "date({time}, 'localtime')",
    "week": "date({time}, 'localtime', 'weekday 0', '-6 days')",
    "month": "strftime('%Y-%m', {time}, 'localtime')",
}
"""Local times; a week is the date of its Monday."""
_KEYED: Mapping[str, str] = {
    "actor": "initiator_id",
    "team": "team",
    "client": "client",
    "model": "model",
    "provider": "provider_name",
    "kind": "request_kind",
    "token": "access_token_id",
    "session": "session",
    "tool": "tool",
}
"""Key columns of the roll-up."""


def check(query: TotalsQuery) -> None:
    """Check the groupings of a query.

    Raises:
        StoreError: there are too many, or a name is unknown.
    """
    if len(query.by) > MAX_GROUPINGS:
        raise StoreError(f"cannot group by more than {MAX_GROUPINGS} names")
    for name in query.by:
        if name not in GROUPINGS and not name.startswith(METADATA_PREFIX):
            known = ", ".join(GROUPINGS)
            raise StoreError(f"cannot group by {name!r}; known are {known}, metadata.<name>")


def rolled_columns(by: Iterable[str]) -> frozenset[str] | None:
    """Return the key columns of the roll-up that groupings need; None if it lacks one of them."""
    names = set(by) - TIME_GROUPINGS
    return frozenset(map(_KEYED.__getitem__, names)) if names <= _KEYED.keys() else None


def raw_sql(name: str, member: str) -> str:
    """Return the SQL of a grouping but `tool` for an interception `i`.

    `member` is the SQL of the metadata that the grouping names.
    """
    if name in _TIMES:
        return _TIMES[name].format(time="i.started_at")
    if name == "session":
        return SESSION_SQL
    return KEYS[_KEYED[name]] if name in _KEYED else f"coalesce({member}, '')"


def rollup_sql(name: str, hour: str) -> str:
    """Return the SQL of a grouping for a row of the roll-up; `hour` is its first hour."""
    return _TIMES[name].format(time=f"{hour} || ':00'") if name in _TIMES else _KEYED[name]
