"""Generated databases with the interceptions of reports, and an independent sum of their figures.

The sum reads plain Python values, never SQL: what a report must equal.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from sqlite_utils import Database

from aibridge_addon.report.figures import Figures
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.refresh import refresh_one
from aibridge_addon.store.sqlite.schema import migrate

START = datetime(2026, 3, 28, 20, tzinfo=UTC)
"""Some hours before the clocks of Europe changed."""
HOURS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A row of token usage: input, cache read, cache write, output; and money."""

    tokens: tuple[int | None, int | None, int | None, int | None]
    cost: int | None
    uncached: int | None
    provider_cost: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An interception with its usages and tools."""

    number: int
    started_at: str
    status: str | None
    http_status: int | None
    calls: tuple[Call, ...]
    tools: tuple[str, ...]
    actor: str
    team: object
    model: str | None
    client: str
    provider: str
    kind: str | None
    credential: str | None
    token: str | None
    session: str | None
    api: str
    prompt: str | None = None
    ttft_ms: int | None = None
    duration_ms: int = 0
    metadata: dict[str, object] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Id of the interception."""
        return f"id-{self.number:04}"


def names(*values: str) -> st.SearchStrategy[str | None]:
    """Return a strategy for a name that may be unknown."""
    return st.sampled_from([*values, None])


COUNTS = st.one_of(st.none(), st.integers(0, 1000))
MONEY = st.one_of(st.none(), st.integers(0, 10**12))
CALLS = st.builds(
    Call,
    tokens=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
    cost=MONEY,
    uncached=MONEY,
    provider_cost=MONEY,
)
STATUSES = ("completed", "failed", "cancelled", "refused", "interrupted")


@st.composite
def requests(draw: st.DrawFn, number: int = 0) -> Request:
    """Generate a request."""
    seconds = draw(
        st.one_of(
            st.integers(0, HOURS * 3600 - 1),
            st.sampled_from([n * 1800 for n in range(HOURS * 2)]),  # the starts of days in any zone
        )
    )
    moment = START + timedelta(seconds=seconds, microseconds=draw(st.sampled_from([0, 999_999])))
    return Request(
        number=number,
        started_at=moment.isoformat(timespec="microseconds"),
        status=draw(names(*STATUSES)),
        http_status=draw(st.sampled_from([None, 200, 400, 529])),
        calls=tuple(draw(st.lists(CALLS, max_size=2))),
        tools=tuple(draw(st.lists(st.sampled_from(["Read", "Bash"]), max_size=3))),
        actor=draw(st.sampled_from(["alice", "bob"])),
        team=draw(st.sampled_from(["search", None, 7])),
        model=draw(names("opus", "gpt[1m]", "")),
        client=draw(st.sampled_from(["Codex", "Claude Code"])),
        provider=draw(st.sampled_from(["anthropic", "openai"])),
        kind=draw(names("turn", "title")),
        credential=draw(names("byok", "subscription")),
        token=draw(names("t1", "t2")),
        session=draw(names("s-1", "s-12", "s-2")),
        api=draw(st.sampled_from(["anthropic_messages", "openai_chat"])),
        prompt=draw(names("Fix the Bug", "hello")),
        ttft_ms=draw(st.one_of(st.none(), st.integers(0, 5000))),
        duration_ms=draw(st.integers(0, 10_000)),
    )


@st.composite
def request_lists(draw: st.DrawFn) -> list[Request]:
    """Generate requests with different numbers."""
    count = draw(st.integers(0, 12))
    return [draw(requests(number)) for number in range(count)]


def insert(connection: Connection, request: Request) -> None:
    """Insert the rows of a request."""
    started = datetime.fromisoformat(request.started_at)
    ended = started + timedelta(milliseconds=request.duration_ms)
    team = {} if request.team is None else {"team": request.team}
    row = {
        "id": request.id,
        "initiator_id": request.actor,
        "metadata": json.dumps(team | request.metadata),
        "provider": "anthropic",
        "provider_name": request.provider,
        "api": request.api,
        "model": request.model,
        "client": request.client,
        "client_session_id": request.session,
        "request_kind": request.kind,
        "credential_kind": request.credential,
        "access_token_id": request.token,
        "started_at": request.started_at,
        "ended_at": ended.isoformat(timespec="microseconds") if request.status else None,
        "status": request.status,
        "http_status": request.http_status,
        "ttft_ms": request.ttft_ms,
    }
    _insert_row(connection, "aibridge_interceptions", row)
    child = {"interception_id": request.id, "metadata": "{}", "created_at": request.started_at}
    for number, call in enumerate(request.calls):
        columns = ("input", "cache_read_input", "cache_write_input", "output")
        counts = {f"{name}_tokens": count for name, count in zip(columns, call.tokens, strict=True)}
        money = {
            "cost_nano_usd": call.cost,
            "uncached_cost_nano_usd": call.uncached,
            "provider_cost_nano_usd": call.provider_cost,
        }
        usage = {"id": f"{request.id}-{number}", **child, **counts, **money}
        _insert_row(connection, "aibridge_token_usages", usage)
    for number, tool in enumerate(request.tools):
        called = {"id": f"{request.id}-{number}", **child, "tool": tool}
        _insert_row(connection, "aibridge_tool_usages", called)
    if request.prompt is not None:
        prompt = {"id": f"{request.id}-p", **child, "prompt": request.prompt}
        _insert_row(connection, "aibridge_user_prompts", prompt)


def _insert_row(connection: Connection, table: str, row: Mapping[str, object]) -> None:
    values = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", row)


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Create a database and yield a connection to it."""
    path.write_bytes(_empty())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        yield connection


@cache
def _empty() -> bytes:
    """Return a migrated database without rows; migrations take longer than a test."""
    with closing(Database(memory=True)) as db:
        migrate(db)
        return db.conn.serialize()


def roll_up(connection: Connection, hours: int | None = None) -> None:
    """Roll up some stale hours, or all."""
    left = hours
    while left is None or left > 0:
        if not refresh_one(connection):
            return
        left = None if left is None else left - 1


def without_usage(request: Request) -> bool:
    """Return True if a request may have been billed and reported no usage."""
    if request.calls or request.status in (None, "refused"):
        return False
    if request.http_status is None:
        return request.status in ("cancelled", "interrupted")
    return request.http_status < 400


def known(values: Iterable[int | None]) -> int | None:
    """Return the sum of the known values; None if all are unknown."""
    found = [value for value in values if value is not None]
    return sum(found) if found else None


def is_in_another_unit(call: Call) -> bool:
    """Return whether a call is billed in another unit than tokens."""
    return (call.tokens[0], call.tokens[3]) == (None, None)


def figures(chosen: Sequence[Request]) -> Figures:
    """Return the figures of some requests."""
    if not chosen:
        return Figures()
    calls = [call for request in chosen for call in request.calls]
    billed = [c for r in chosen for c in r.calls if r.credential != "subscription"]
    listed = [c for r in chosen for c in r.calls if r.credential == "subscription"]
    saved = [None if None in (c.cost, c.uncached) else c.uncached - c.cost for c in billed]  # type: ignore[operator]
    unpriced = [r for r in chosen if without_usage(r) or any(c.cost is None for c in r.calls)]
    models = [request.model or "unknown" for request in unpriced]
    sums = [sum(call.tokens[index] or 0 for call in calls) for index in range(4)]
    return Figures(
        requests=len(chosen),
        open=sum(request.status is None for request in chosen),
        **{status: sum(r.status == status for r in chosen) for status in STATUSES},
        unpriced_reasons=(),
        calls=len(calls),
        input=sums[0],
        cache_read=sums[1],
        cache_write=sums[2],
        output=sums[3],
        incomplete=sum(
            any(None in call.tokens and not is_in_another_unit(call) for call in r.calls)
            for r in chosen
        ),
        without_usage=sum(map(without_usage, chosen)),
        chats_without_usage=sum(without_usage(r) and r.api == "openai_chat" for r in chosen),
        cost_nano_usd=known(call.cost for call in billed),
        list_price_nano_usd=known(call.cost for call in listed),
        saved_nano_usd=known(saved),
        provider_cost_nano_usd=known(call.provider_cost for call in calls),
        unpriced=len(unpriced),
        unpriced_models=tuple(sorted(set(models), key=lambda m: (-models.count(m), m))),
        latest=max(request.started_at for request in chosen),
    )


def _local(request: Request) -> datetime:
    return datetime.fromisoformat(request.started_at).astimezone()


def _monday(request: Request) -> str:
    day = _local(request).date()
    return (day - timedelta(days=day.weekday())).isoformat()


GROUPS: dict[str, Callable[[Request], Iterable[str | None]]] = {
    "hour": lambda r: [f"{_local(r):%Y-%m-%d %H:00}"],
    "day": lambda r: [f"{_local(r):%Y-%m-%d}"],
    "week": lambda r: [_monday(r)],
    "month": lambda r: [f"{_local(r):%Y-%m}"],
    "session": lambda r: [r.session],
    "actor": lambda r: [r.actor],
    "team": lambda r: [None if r.team is None else str(r.team)],
    "metadata.team": lambda r: [None if r.team is None else str(r.team)],
    "client": lambda r: [r.client],
    "model": lambda r: [r.model or None],
    "provider": lambda r: [r.provider],
    "tool": lambda r: set(r.tools) or [None],
    "kind": lambda r: [r.kind],
    "token": lambda r: [r.token],
}
"""Names of the groups that a request belongs to."""
