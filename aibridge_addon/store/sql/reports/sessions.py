"""Sessions, those with the newest requests first.

A page is found by walking back over the requests, so that it reads no more than the sessions of the
page, however many there are. A session's position is that of its newest request.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page, SessionRow
from aibridge_addon.store.connection import Connection, walk
from aibridge_addon.store.sql.reports import candidates, selection, spans
from aibridge_addon.store.sql.reports.figures_rows import MOST_MODELS
from aibridge_addon.store.sql.reports.requests import make_cursor, split_cursor
from aibridge_addon.store.sql.reports.selection import Selection
from aibridge_addon.store.sql.reports.spans import Span
from aibridge_addon.store.sql.reports.totals import session_figures

_PROMPT_LENGTH = 200
_FROM = "FROM aibridge_interceptions i WHERE"
_POSITION = "(i.started_at, i.id)"


@dataclass(frozen=True, slots=True)
class _Session:
    """A session of an actor, and the position of its newest request."""

    id: str
    actor: str
    position: tuple[str, str]


def read(connection: Connection, query: RequestQuery) -> Page[SessionRow]:
    """Return a page of sessions."""
    found = _walk(connection, query, split_cursor(query.cursor) if query.cursor else None)
    page: list[_Session] = []
    cursor = ""
    for session in found:
        if len(page) == query.limit:
            cursor = make_cursor(*page[-1].position) if page else query.cursor
            break
        page.append(session)
    rows = tuple(_row(connection, query, session) for session in page)
    return Page(rows=rows, next_cursor=cursor)


def _walk(
    connection: Connection, query: RequestQuery, after: tuple[str, str] | None
) -> Iterator[_Session]:
    """Yield the sessions after a position."""
    seen = set()
    for span in candidates.newest_first(connection, query, after[0] if after else ""):
        for session, actor, *position in _walk_span(connection, query, span, after):
            if (session, actor) in seen:
                continue
            seen.add((session, actor))
            found = _Session(session, actor, (position[0], position[1]))
            if after is None or not _is_before(connection, query, found, after):
                yield found


def _walk_span(
    connection: Connection, query: RequestQuery, span: Span, after: tuple[str, str] | None
) -> Iterator[tuple[str, ...]]:
    """Yield session, actor, start and id of the requests of a span after a position."""
    chosen = selection.of_interceptions(query)
    spans.add(chosen, span, hidden=bool(query.sessions))
    chosen.add("i.client_session_id IS NOT NULL")
    if after is not None:
        _add_position(chosen, "<", after)
    sql = (
        f"SELECT i.client_session_id, i.initiator_id, i.started_at, i.id {_FROM}"
        f" {' AND '.join(chosen.conditions)} ORDER BY i.started_at DESC, i.id DESC"
    )
    return walk(connection, sql, chosen.values)


def _is_before(
    connection: Connection, query: RequestQuery, session: _Session, after: tuple[str, str]
) -> bool:
    """Return True if a session was on an earlier page."""
    chosen = _selected(query, session)
    _add_position(chosen, ">=", after)
    sql = f"SELECT 1 {_FROM} {' AND '.join(chosen.conditions)} LIMIT 1"
    return connection.execute(sql, chosen.values).fetchone() is not None


def _selected(query: RequestQuery, session: _Session) -> Selection:
    """Return the conditions for the requests of a session."""
    chosen = selection.of_interceptions(query)
    chosen.add_period(query.since, query.until, hidden=True)
    chosen.add(f"i.client_session_id = {chosen.bind(session.id)}")
    chosen.add(f"+i.initiator_id = {chosen.bind(session.actor)}")
    return chosen


def _add_position(chosen: Selection, operator: str, position: tuple[str, str]) -> None:
    started_at, id_ = map(chosen.bind, position)
    chosen.add(f"{_POSITION} {operator} ({started_at}, {id_})")


def _row(connection: Connection, query: RequestQuery, session: _Session) -> SessionRow:
    chosen = _selected(query, session)
    where = " AND ".join(chosen.conditions)

    def first(sql: str) -> tuple[str, ...] | None:
        found: tuple[str, ...] | None = connection.execute(sql, chosen.values).fetchone()
        return found

    begin = first(f"SELECT i.started_at, i.client {_FROM} {where} ORDER BY i.started_at, i.id")
    prompt = first(
        f"SELECT substr(p.prompt, 1, {_PROMPT_LENGTH}) FROM aibridge_interceptions i"  # noqa: S608
        f" JOIN aibridge_user_prompts p ON p.interception_id = i.id WHERE {where}"
        " ORDER BY i.started_at, p.id"
    )
    models = connection.execute(
        f"SELECT i.model {_FROM} {where} AND i.model <> '' GROUP BY 1"
        f" ORDER BY count(*) DESC, 1 LIMIT {MOST_MODELS}",
        chosen.values,
    )
    assert begin is not None
    return SessionRow(
        id=session.id,
        actor=session.actor,
        client=begin[1],
        started_at=begin[0],
        latest_at=session.position[0],
        models=tuple(model for (model,) in models),
        prompt=prompt[0] if prompt else None,
        figures=session_figures(connection, chosen),
    )
