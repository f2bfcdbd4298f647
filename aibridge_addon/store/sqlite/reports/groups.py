"""SQL of the groupings of totals."""

from collections.abc import Mapping

from aibridge_addon.report.queries import (
    GROUPINGS,
    MAX_GROUPINGS,
    METADATA_PREFIX,
    TIME_GROUPINGS,
    TotalsQuery,
)
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.figures import KEYS

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
}
TOOL_SQL = "coalesce(x.tool, '')"
JOIN_TOOLS = (
    " LEFT JOIN aibridge_tool_usages x ON x.interception_id = i.id AND x.id ="
    " (SELECT min(y.id) FROM aibridge_tool_usages y"
    " WHERE y.interception_id = i.id AND y.tool = x.tool)"
)
"""Joins an interception `i` with each tool `x` that it called, once per name."""


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


def is_rolled_up(name: str) -> bool:
    """Return True if the roll-up has a grouping."""
    return name in _KEYED or name in TIME_GROUPINGS


def raw_sql(name: str, member: str) -> str:
    """Return the SQL of a grouping but `tool` for an interception `i`.

    `member` is the SQL of the metadata that the grouping names.
    """
    if name in _TIMES:
        return _TIMES[name].format(time="i.started_at")
    if name == "session":
        return "coalesce(i.client_session_id, '')"
    return KEYS[_KEYED[name]] if name in _KEYED else f"coalesce({member}, '')"


def rollup_sql(name: str, hour: str) -> str:
    """Return the SQL of a grouping for a row of the roll-up; `hour` is its first hour."""
    return _TIMES[name].format(time=f"{hour} || ':00'") if name in _TIMES else _KEYED[name]
