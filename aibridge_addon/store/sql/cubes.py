"""Tables of the roll-up: sums of requests by hour, and of those by day, week and month.

A query is answered from the smallest table that has every column it needs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aibridge_addon.store.sql.figures import KEYS, MEASURES, MONEY, requests_sql, sums_sql

HOUR_COLUMNS = ("hour", "archived")
SPAN_COLUMNS = ("begin_hour", "end_hour")
"""Columns of a span, a whole day, week or month: its first hour, and the first hour after it."""
SESSION_SQL = "coalesce(i.client_session_id, '')"
TOOL_SQL = "coalesce(x.tool, '')"
JOIN_TOOLS = (
    " LEFT JOIN aibridge_tool_usages x ON x.interception_id = i.id AND x.id ="
    " (SELECT min(y.id) FROM aibridge_tool_usages y"
    " WHERE y.interception_id = i.id AND y.tool = x.tool)"
)
"""Joins an interception `i` with each tool `x` that it called, once per name."""
DAY, WEEK, MONTH = 1, 7, 31
"""Most days of a span."""
_OF_PERSON = ("initiator_id", "team", "access_token_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class HourTable:
    """Sums of the requests of an hour with equal keys."""

    table: str
    keys: tuple[str, ...]
    extra: Mapping[str, str]
    """The key that requests have besides `KEYS`, by its SQL."""
    join: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return (*HOUR_COLUMNS, *self.keys, *MEASURES, "latest")

    def create_sql(self) -> str:
        """Return the statement that creates the table."""
        return create_table_sql(self.table, {"hour": "TEXT", "archived": "INTEGER"}, self.keys)

    def sum_sql(self, hour: str, archived: int, condition: str) -> str:
        """Return the INSERT of the sums of interceptions `i`; `hour` is the SQL of their hour, or
        a parameter."""
        extra = {} if self.join else self.extra
        requests = requests_sql("aibridge_interceptions i", [condition], extra)
        keys = [
            self.extra[key] if self.join and key in self.extra else f"i.{key}" for key in self.keys
        ]
        return (
            f"INSERT INTO {self.table} ({', '.join(self.columns)})"  # noqa: S608
            f" SELECT {hour}, {archived}, {', '.join(keys)}, {sums_sql()}, max(started_at)"
            f" FROM ({requests}) i{self.join}"
            f" WHERE TRUE GROUP BY {', '.join(keys if hour[0] == ':' else (hour, *keys))}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table with rows of days, weeks and months, and the statements that fill it."""

    table: str
    longest: int
    """Most days of a span."""
    sum_day: tuple[str, ...]
    """Executed in this order: sums up the time from `:begin` to `:end`; twice does no harm."""
    sum_days: str
    """Likewise sums up the days that are in the JSON list `:days`."""


def days_source(table: str) -> str:
    """Return the source `i` of the rows of the days that are in the JSON list `:days`."""
    return (
        f"json_each(:days) d CROSS JOIN {table} i"
        " ON i.begin_hour = json_extract(d.value, '$[0]')"
        " AND i.end_hour = json_extract(d.value, '$[1]')"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cube:
    """Sums of days, weeks and months with fewer keys than the hours that they sum up."""

    table: str
    """Empty: there are sums of hours only."""
    hours: HourTable
    keys: tuple[str, ...]
    longest: int = MONTH
    """Most days of a span."""

    @property
    def part(self) -> "Part":
        """The table, with the statements that fill it."""
        hours = f"{self.hours.table} i WHERE hour >= :begin AND hour < :end"
        return Part(
            table=self.table,
            longest=self.longest,
            sum_day=(self._sum_sql(hours),),
            sum_days=self._sum_sql(days_source(self.table)),
        )

    def create_sql(self) -> str:
        """Return the statement that creates the table."""
        return create_table_sql(self.table, dict.fromkeys(SPAN_COLUMNS, "TEXT"), self.keys)

    def _sum_sql(self, source: str) -> str:
        """Return the INSERT of the sums of a source `i` as the span from `:begin` to `:end`."""
        keys = ", ".join(f"i.{name}" for name in self.keys)
        columns = ", ".join((*SPAN_COLUMNS, *self.keys, *MEASURES, "latest"))
        renewed = ", ".join(f"{name} = excluded.{name}" for name in (*MEASURES, "latest"))
        return (
            f"INSERT INTO {self.table} ({columns})"  # noqa: S608
            f" SELECT :begin, :end, {keys}, {sums_sql()}, max(latest) FROM {source} GROUP BY {keys}"
            f" ON CONFLICT ({', '.join((*SPAN_COLUMNS, *self.keys))}) DO UPDATE SET {renewed}"
        )


HOURS = HourTable(table="aibridge_hourly", keys=("session", *KEYS), extra={"session": SESSION_SQL})
TOOL_HOURS = HourTable(
    table="aibridge_hourly_tools",
    keys=("tool", *KEYS),
    extra={"tool": TOOL_SQL},
    join=JOIN_TOOLS,
)
HOUR_TABLES = (HOURS, TOOL_HOURS)

_IMPERSONAL = tuple(key for key in KEYS if key not in _OF_PERSON)
FIGURES = Cube(table="aibridge_span_figures", hours=HOURS, keys=tuple(KEYS))
CUBES = (
    Cube(table="aibridge_span_models", hours=HOURS, keys=_IMPERSONAL),
    FIGURES,
    Cube(
        table="aibridge_span_sessions",
        hours=HOURS,
        keys=tuple(key for key in HOURS.keys if key != "request_kind"),
        longest=DAY,
    ),
    Cube(table="aibridge_span_tools", hours=TOOL_HOURS, keys=("tool", *_IMPERSONAL)),
    Cube(table="aibridge_span_person_tools", hours=TOOL_HOURS, keys=TOOL_HOURS.keys, longest=WEEK),
)
"""The smallest first. The last two have a request once for each tool that it called. Long spans of
sessions would hardly have fewer rows than their days."""


_HOURS_ONLY = Cube(table="", hours=HOURS, keys=HOURS.keys)


def smallest(columns: Collection[str]) -> Cube | None:
    """Return the smallest cube that has some key columns."""
    cubes = (*CUBES, _HOURS_ONLY)
    return next((cube for cube in cubes if set(columns) <= set(cube.keys)), None)


def create_table_sql(table: str, first: Mapping[str, str], keys: Collection[str]) -> str:
    """Return the statement that creates a table of sums."""
    columns = {name: f"{kind} NOT NULL" for name, kind in first.items()}
    columns |= dict.fromkeys(keys, "TEXT NOT NULL")
    columns |= {name: f"INTEGER{' NOT NULL' * (name not in MONEY)}" for name in MEASURES}
    columns["latest"] = "TEXT NOT NULL"
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    key = ", ".join((*first, *keys))
    return f"CREATE TABLE {table} ({declared}, PRIMARY KEY ({key})) WITHOUT ROWID"
