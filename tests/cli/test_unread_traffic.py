"""`aibridge usage --by host`: AI traffic outside of what is recorded."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlite_utils import Database

from aibridge_addon.store.sqlite.schema import migrate
from cli.command import Home


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.sqlite3"
    started = datetime.now(UTC).isoformat(timespec="microseconds")
    rows = [
        ("1", "alice", None, "api2.cursor.sh", "Cursor", started, 61_000, 1200, 34_000),
        ("2", "bob", None, "api2.cursor.sh", "Cursor", started, 1000, 1, 1),
        ("3", "=cmd", None, "claude.ai", "Claude (web)", started, 500, 9, 9),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        migrate(Database(connection))
        connection.executemany(f"INSERT INTO aibridge_tunnels VALUES ({', '.join('?' * 9)})", rows)
    return path


def test_tunnels_are_shown_by_host(home: Home, database: Path) -> None:
    out = home.run("usage", "--by", "host", "--db", str(database)).stdout

    assert "AI traffic outside of what is recorded" in out
    (cursor,) = [line.split() for line in out.splitlines() if "cursor" in line]
    assert cursor[:8] == ["api2.cursor.sh", "Cursor", "2", "2", "1.20", "kB", "34.0", "kB"]
    assert cursor[8] == "1m02s"


def test_tunnels_are_shown_by_host_and_actor(home: Home, database: Path) -> None:
    out = home.run("usage", "--by", "host,actor", "--actor", "b*", "--db", str(database)).stdout

    (cursor,) = [line.split() for line in out.splitlines() if "cursor" in line]
    assert cursor[:4] == ["api2.cursor.sh", "Cursor", "bob", "1"]
    assert "claude.ai" not in out


def test_tunnels_are_printed_for_programs(home: Home, database: Path) -> None:
    rows = json.loads(home.run("usage", "--by", "host", "--db", str(database), "--json").stdout)
    assert [(row["host"], row["tunnels"]) for row in rows] == [
        ("api2.cursor.sh", 2),
        ("claude.ai", 1),
    ]
    text = home.run("usage", "--by", "host,actor", "--db", str(database), "--csv").stdout
    cells = list(csv.DictReader(io.StringIO(text)))
    assert "'=cmd" in [cell["actor"] for cell in cells], (
        "a spreadsheet must not take it for a formula"
    )


def test_host_is_combined_with_actor_only(home: Home, database: Path) -> None:
    ran = home.run("usage", "--by", "host,model", "--db", str(database))

    assert "host can be combined with actor only" in ran.stderr
