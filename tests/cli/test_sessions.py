"""`aibridge sessions`: one line per session, in columns that fit."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from report.databases import Call, Request, database, insert

from cli.command import Home

CALL = Call(tokens=(10, 20, 0, 5), cost=2_500_000_000, uncached=None, provider_cost=None)


def request(number: int, minutes: int, **changes: object) -> Request:
    """Return a request some minutes ago."""
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    values: dict[str, object] = {
        "started_at": moment.isoformat(timespec="microseconds"),
        "status": "completed",
        "http_status": 200,
        "calls": (
            Call(tokens=(10, 20, 0, 5), cost=2_500_000_000, uncached=None, provider_cost=None),
        ),
        "tools": (),
        "actor": "alice",
        "team": None,
        "model": "opus",
        "client": "Claude Code",
        "provider": "anthropic",
        "kind": "turn",
        "credential": "byok",
        "token": None,
        "session": "0192f0c2-3d4e-7aaa-8bbb-0123456789ab",
        "api": "anthropic_messages",
    }
    return Request(number=number, **values | changes)  # type: ignore[arg-type]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A database with two sessions."""
    path = tmp_path / "some.sqlite3"
    with database(path) as connection:
        insert(connection, request(1, 30, prompt="Fix the test\nthat fails"))
        insert(connection, request(2, 20))
        insert(connection, request(3, 10, session="s-2\x1b[2J", actor="bob", calls=()))
        insert(connection, request(4, 5, session=None))
    return path


def test_sessions_are_listed_newest_first(home: Home, recorded: Path) -> None:
    shown = home.invoke("sessions", "--db", str(recorded), env={"COLUMNS": "80"})
    head, rule, second, first = shown.output.splitlines()
    assert head.split()[:3] == ["latest", "session", "actor"]
    assert set(rule) == {"─"}
    assert "s-2�[2J" in second
    assert "bob" in second
    assert first.split()[2:4] == ["0192f0c2-3d4e", "alice"]
    assert " 2 " in first
    assert "$5.00 Fix the test t" in first
    assert max(map(len, shown.output.splitlines())) <= 80


def test_next_page_continues_after_the_cursor(home: Home, recorded: Path) -> None:
    words = ("sessions", "--db", str(recorded), "--limit", "1")
    page = json.loads(home.invoke(*words, "--json").output)
    assert [row["actor"] for row in page["rows"]] == ["bob"]
    rest = home.invoke(*words, "--after", page["next_cursor"]).output
    assert "alice" in rest
    assert "more" not in rest


def test_no_sessions_are_stated(home: Home, recorded: Path) -> None:
    shown = home.invoke("sessions", "--db", str(recorded), "--actor", "nobody")
    assert "There are no sessions of this period" in shown.output
