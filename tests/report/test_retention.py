"""Totals after retention has deleted requests: the roll-up keeps their figures."""

import tempfile
from itertools import combinations
from pathlib import Path

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from report.databases import GROUPS, Request, database, figures, insert, request_lists, roll_up
from report.zones import zone

from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.sql.housekeeping import DELETE_INTERCEPTIONS
from aibridge_addon.store.sqlite.reports.reports import SQLiteReports

ROLLED = (
    *("day", "week", "month", "session"),
    *("actor", "team", "client", "model", "provider", "kind", "token"),
)


@settings(deadline=None, max_examples=examples(20))
@given(
    stored=request_lists(),
    by=st.lists(st.sampled_from(ROLLED), min_size=1, max_size=2, unique=True),
    before=st.integers(0, 20),
    between=st.integers(0, 20),
    steps=st.integers(1, 3),
    late=st.integers(0, 2),
)
def test_totals_over_all_time_survive_the_deletion_of_requests(
    stored: list[Request], by: list[str], before: int, between: int, steps: int, late: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, zone("Europe/Berlin"):
        path = Path(folder) / "a.sqlite3"
        with database(path) as connection:
            for request in stored[late:]:
                insert(connection, request)
            roll_up(connection, before)
            for _ in range(steps):
                with transaction(connection):
                    for statement in DELETE_INTERCEPTIONS:
                        connection.execute(statement, {"before": "9", "limit": 2})
            for request in stored[:late]:
                insert(connection, request)
            roll_up(connection, between)
        totals = SQLiteReports(path).totals(TotalsQuery(by=tuple(by)))
        expected: dict[tuple[str | None, ...], list[Request]] = {}
        for request in stored:
            names = tuple(name for grouping in by for name in GROUPS[grouping](request))
            expected.setdefault(names, []).append(request)
    found = {row.names: row.figures for row in totals.rows}
    assert found == {names: figures(group) for names, group in expected.items()}
    assert totals.overall == figures(stored)


def test_totals_by_each_two_names_survive_the_deletion_of_requests(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    request = Request(
        number=0,
        started_at="2026-03-28T20:00:00.000000+00:00",
        status="completed",
        http_status=200,
        calls=(),
        tools=(),
        actor="alice",
        team="search",
        model="opus",
        client="Codex",
        provider="anthropic",
        kind="turn",
        credential="byok",
        token="t1",
        session="s-1",
        api="anthropic_messages",
    )
    with database(path) as connection:
        insert(connection, request)
        with transaction(connection):
            for statement in DELETE_INTERCEPTIONS:
                connection.execute(statement, {"before": "9", "limit": 2})
    reports = SQLiteReports(path)
    lost = [by for by in combinations(ROLLED, 2) if not reports.totals(TotalsQuery(by=by)).rows]
    assert lost == []
