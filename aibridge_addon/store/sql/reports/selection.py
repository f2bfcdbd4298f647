"""SQL conditions of a query's filters, for interceptions and for the roll-up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aibridge_addon.access.runs import METADATA_KEY
from aibridge_addon.report.periods import normal_text
from aibridge_addon.report.queries import METADATA_PREFIX, RequestQuery
from aibridge_addon.store.sql.figures import KEYS

_ROLLED_FILTERS: Mapping[str, str] = {
    "actors": "initiator_id",
    "teams": "team",
    "models": "model",
    "clients": "client",
    "providers": "provider_name",
    "kinds": "request_kind",
    "tokens": "access_token_id",
}
"""Filters of `RequestQuery` by the key column of the roll-up that they compare."""
_NOT_COMPLETED = frozenset({"failed", "cancelled", "refused", "interrupted"})
_RAW_FILTERS = ("metadata", "sessions", "statuses", "text", "run")
_PATTERN = frozenset("*?")
"""Characters of patterns in filters."""


@dataclass(slots=True)
class Selection:
    """Conditions, all of which must hold, and the values of their parameters."""

    conditions: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def add(self, condition: str, **values: str) -> None:
        """Add a condition with the values of its parameters."""
        self.conditions.append(condition)
        self.values |= values

    def add_period(self, since: str, until: str, *, hidden: bool = False) -> None:
        """Add the conditions of a period for interceptions `i`.

        `hidden`: SQLite must not use the index of starts, since another one is better.
        """
        column = "+i.started_at" if hidden else "i.started_at"
        if since:
            self.add(f"{column} >= {self.bind(normal_text(since))}")
        if until:
            self.add(f"{column} < {self.bind(normal_text(until))}")

    def bind(self, value: str) -> str:
        """Return a new parameter that has a value."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def add_any_of(self, expression: str, accepted: Iterable[str]) -> None:
        """Add the condition that an expression is one of some names or patterns."""
        tests = []
        for value in accepted:
            tests.append(f"{expression} = {self.bind(value)}")
            if not _PATTERN.isdisjoint(value):
                tests.append(f"glob({self.bind(value.replace('[', '[[]'))}, {expression})")
        if tests:
            self.conditions.append(f"({' OR '.join(tests)})")


def rolled_columns(query: RequestQuery) -> frozenset[str] | None:
    """Return the key columns of the roll-up that the filters compare; None if it lacks some.

    Rows by tool are of use for a single tool: a request has a row for each tool that it called.
    """
    if any(getattr(query, name) for name in _RAW_FILTERS):
        return None
    if len(query.tools) > 1 or not _PATTERN.isdisjoint("".join(query.tools)):
        return None
    return keyed_columns(query)


def keyed_columns(query: RequestQuery) -> frozenset[str]:
    """Return the key columns of the roll-up that some of the filters compare."""
    columns = {column for name, column in _ROLLED_FILTERS.items() if getattr(query, name)}
    columns |= {"tool"} if query.tools else set()
    return frozenset(columns | ({"initiator_id"} if query.for_actor is not None else set()))


def of_rollup(query: RequestQuery) -> Selection:
    """Return the conditions of a query's filters for rows of the roll-up."""
    selection = _keyed(query, {column: column for column in KEYS})
    selection.add_any_of("tool", query.tools)
    return selection


def of_interceptions(query: RequestQuery) -> Selection:
    """Return the conditions of a query's filters for interceptions `i`, without its period."""
    selection = _keyed(query, KEYS)
    for key, value in query.metadata:
        member = member_sql(selection, f"{METADATA_PREFIX}{key}")
        selection.add_any_of(f"coalesce({member}, '')", [value])
    if query.sessions:
        tests = [_begins_with(selection, session) for session in query.sessions]
        selection.add(f"({' OR '.join(tests)})")
    _add_statuses(selection, query.statuses)
    _add_tools(selection, query.tools)
    if query.text:
        prompt = f"instr(lower(p.prompt), lower({selection.bind(query.text)}))"
        found = "SELECT 1 FROM aibridge_user_prompts p WHERE p.interception_id = i.id"
        selection.add(f"EXISTS ({found} AND {prompt})")
    if query.run is not None:
        run = f"json_extract(i.metadata, '$.{METADATA_KEY}')"
        selection.add(f"{run} = {selection.bind(query.run)}")
    return selection


def member_sql(selection: Selection, grouping: str) -> str:
    """Return the SQL of the member of the metadata that a grouping names, as text."""
    # A path of `json_extract` cannot name every key.
    name = selection.bind(grouping.removeprefix(METADATA_PREFIX))
    return f"(SELECT CAST(value AS TEXT) FROM json_each(i.metadata) WHERE key = {name})"  # noqa: S608


def _keyed(query: RequestQuery, columns: Mapping[str, str]) -> Selection:
    selection = Selection()
    if query.for_actor is not None:
        selection.add(f"{columns['initiator_id']} = {selection.bind(query.for_actor)}")
    for name, column in _ROLLED_FILTERS.items():
        selection.add_any_of(columns[column], getattr(query, name))
    return selection


def _begins_with(selection: Selection, session: str) -> str:
    if not session:
        return "i.client_session_id IS NULL"
    begin, end = selection.bind(session), selection.bind(f"{session}\U0010ffff")
    return f"(i.client_session_id >= {begin} AND i.client_session_id < {end})"


def _add_statuses(selection: Selection, statuses: tuple[str, ...]) -> None:
    selection.add_any_of("coalesce(i.status, 'open')", statuses)
    if statuses and set(statuses) <= _NOT_COMPLETED:
        selection.add("i.status <> 'completed'")  # an index has these only
    elif set(statuses) == {"open"}:
        selection.add("i.ended_at IS NULL")  # likewise


def _add_tools(selection: Selection, tools: tuple[str, ...]) -> None:
    if not tools:
        return
    called = Selection(values=selection.values)
    called.add_any_of("x.tool", tools)
    selection.add(
        "EXISTS (SELECT 1 FROM aibridge_tool_usages x"  # noqa: S608
        f" WHERE x.interception_id = i.id AND {called.conditions[0]})"
    )
