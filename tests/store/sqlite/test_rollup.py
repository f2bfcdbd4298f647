"""The roll-up by hour: what marks an hour as stale, its refresh, and deleted interceptions."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database
from store.doubles import ended, started, tokens

from aibridge_addon.facts import Fact
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import NothingRecordedError
from aibridge_addon.store.sql.figures import KEYS, MEASURES
from aibridge_addon.store.sql.housekeeping import DELETE_INTERCEPTIONS
from aibridge_addon.store.sql.refresh import refresh_one
from aibridge_addon.store.sql.rollup import PARTS
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite.reports.reports import SQLiteReports
from aibridge_addon.store.sqlite.schema import migrate, migrations
from aibridge_addon.store.statements import statements

NINE, TEN = ("2026-01-05T09:59:59.999999+00:00", "2026-01-05T10:00:00.000000+00:00")


OLD_ROW = {
    "id": "1",
    "initiator_id": "alice",
    "metadata": "{}",
    "provider": "anthropic",
    "provider_name": "anthropic",
    "api": "anthropic_messages",
    "started_at": NINE,
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "a.sqlite3", isolation_level=None)) as opened:
        migrate(Database(opened))
        yield opened


def write(connection: sqlite3.Connection, *facts: Fact) -> None:
    with transaction(connection):
        for statement in statements(facts):
            connection.execute(SQL[statement.kind], statement.values)


def stale(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT hour FROM aibridge_stale_hours ORDER BY hour")
    return [hour for (hour,) in rows]


def refresh(connection: sqlite3.Connection) -> None:
    while refresh_one(connection):
        pass


def rolled(connection: sqlite3.Connection, columns: str) -> list[tuple[object, ...]]:
    sql = f"SELECT {columns} FROM aibridge_hourly ORDER BY hour, archived"
    return connection.execute(sql).fetchall()


def test_written_interceptions_mark_their_hours_as_stale(connection: sqlite3.Connection) -> None:
    write(connection, started(started_at=NINE), started(started_at=TEN))
    assert stale(connection) == ["2026-01-05T09", "2026-01-05T10"]


def test_refreshed_hour_has_the_figures_of_its_requests(connection: sqlite3.Connection) -> None:
    first, second = started(started_at=NINE), started(started_at=TEN)
    write(connection, first, tokens(first), ended(first), second, tokens(second), tokens(second))
    refresh(connection)
    assert stale(connection) == []
    assert rolled(connection, "hour, requests, completed, open, calls, output, latest") == [
        ("2026-01-05T09", 1, 1, 0, 1, 20, NINE),
        ("2026-01-05T10", 1, 0, 1, 2, 40, TEN),
    ]


@pytest.mark.parametrize("change", ["late usage", "late end", "price", "deletion"])
def test_later_change_marks_the_hour_of_the_request_as_stale(
    connection: sqlite3.Connection, change: str
) -> None:
    request = started(started_at=NINE)
    usage = tokens(request)
    write(connection, request, usage)
    refresh(connection)
    if change == "late usage":
        write(connection, tokens(request))
    elif change == "late end":
        write(connection, ended(request, ended_at=TEN))
    elif change == "price":
        connection.execute("UPDATE aibridge_token_usages SET cost_nano_usd = 1")
    else:
        connection.execute("DELETE FROM aibridge_token_usages")
    assert stale(connection) == ["2026-01-05T09"]


def test_current_hour_is_not_rolled_up(connection: sqlite3.Connection) -> None:
    write(connection, started())
    refresh(connection)
    assert len(stale(connection)) == 1
    assert rolled(connection, "hour") == []


def test_deleted_interceptions_stay_in_the_roll_up(connection: sqlite3.Connection) -> None:
    requests = [started(started_at=NINE) for _ in range(3)]
    write(connection, *(fact for r in requests for fact in (r, tokens(r), ended(r))))
    connection.execute("UPDATE aibridge_token_usages SET cost_nano_usd = 5 WHERE rowid < 3")
    refresh(connection)
    values = {"before": TEN, "limit": 1}
    for _ in range(2):  # of the same hour, in two steps
        with transaction(connection):
            for statement in DELETE_INTERCEPTIONS:
                connection.execute(statement, values)
    assert stale(connection) == ["2026-01-05T09"]
    refresh(connection)
    assert rolled(connection, "archived, requests, output, cost, unpriced") == [
        (0, 1, 20, None, 1),
        (1, 2, 40, 10, 0),
    ]


def test_migration_marks_the_hours_of_all_earlier_interceptions(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "old.sqlite3")) as db:
        migrations.apply(db, stop_before="m009_times_and_prices")
        db.table("aibridge_interceptions").insert(OLD_ROW)
        migrate(db)
        assert stale(db.conn) == ["2026-01-05T09"]


def test_figures_of_deleted_requests_survive_the_migration_to_sessions_and_tools(
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.sqlite3"
    with closing(Database(path)) as db:
        migrations.apply(db, stop_before="m018_rollup_of_sessions_and_tools")
        archived = {"hour": NINE[:13], "archived": 1, "latest": NINE, **dict.fromkeys(KEYS, "")}
        figures = dict.fromkeys(MEASURES, 0) | {"requests": 2, "output": 9, "initiator_id": "bob"}
        db.table("aibridge_hourly").insert(archived | figures)
        db.table("aibridge_interceptions").insert(OLD_ROW)
    for by in ("actor", "tool", "session"):
        totals = SQLiteReports(path).totals(TotalsQuery(by=(by,)))
        assert (totals.overall.requests, totals.overall.output) == (3, 9)
        assert sum(row.figures.requests for row in totals.rows) == 3


@pytest.mark.parametrize(
    ("part", "lengths"),
    [
        ("aibridge_span_figures", {1, 7, 31}),
        ("aibridge_span_person_tools", {1, 7}),
        ("aibridge_span_sessions", {1}),
        ("aibridge_span_latency", {1, 7}),
    ],
)
def test_complete_days_weeks_and_months_are_summed_up(
    connection: sqlite3.Connection, part: str, lengths: set[int]
) -> None:
    request = started(started_at=NINE)
    write(connection, request, ended(request), tokens(request))
    refresh(connection)
    spans = connection.execute(
        f"SELECT round(julianday(end_hour || ':00') - julianday(begin_hour || ':00')) FROM {part}"
    )
    assert {int(days) for (days,) in spans} == lengths


def test_changed_hour_discards_the_spans_around_it(connection: sqlite3.Connection) -> None:
    request = started(started_at=NINE)
    write(connection, request, ended(request))
    refresh(connection)
    write(connection, tokens(request))
    assert refresh_one(connection)
    for part in PARTS:
        assert connection.execute(f"SELECT count(*) FROM {part.table}").fetchone() == (0,)
    refresh(connection)
    assert connection.execute("SELECT DISTINCT output FROM aibridge_span_models").fetchall() == [
        (20,)
    ]


def test_report_updates_a_database_of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    with closing(Database(path)) as db:
        migrations.apply(db, stop_before="m009_times_and_prices")
        db.table("aibridge_interceptions").insert(OLD_ROW)
    totals = SQLiteReports(path).totals(TotalsQuery(by=("actor",)))
    assert [row.names for row in totals.rows] == [("alice",)]


def test_report_changes_no_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(Database(path)) as db:
        db.table("things").insert({"id": 1})
    with pytest.raises(NothingRecordedError, match=r"other.sqlite3 has no tables of aibridge"):
        SQLiteReports(path).totals(TotalsQuery())
    with closing(Database(path)) as db:
        assert db.table_names() == ["things"]
