"""`aibridge limits`: windows and rate limits per credential, with bars, resets and age."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from aibridge_addon.cli.central_keys import key_lines, limits_line
from aibridge_addon.observe.health import Health, read_health
from aibridge_addon.report.limits import span
from aibridge_addon.store.sqlite.schema import migrate
from cli.command import Home


class _Clock:
    """The time at which each test starts: a long run must not make the rows older."""

    now = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _restart_clock() -> None:
    _Clock.now = datetime.now(UTC)


def ago(**time: float) -> str:
    return (_Clock.now - timedelta(**time)).isoformat(timespec="microseconds")


def epoch(**time: float) -> str:
    return str(int((_Clock.now + timedelta(**time)).timestamp()))


type Row = tuple[str, str, str, str, str, str, str]

SUBSCRIPTION = ("anthropic", "subscription", "sk-a...0001", "alice")
CENTRAL = ("openai", "centralized", "sk-p...9999")


def row(credential: tuple[str, ...], header: str, value: str, seen_at: str | None = None) -> Row:
    provider, kind, hint, actor = credential
    return (provider, kind, hint, actor, header, value, seen_at or ago(minutes=3))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        migrate(Database(connection))
    return path


def fill(path: Path, *rows: Row) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO aibridge_rate_limits VALUES (?,?,?,?,?,?,?)", rows)


def shown(home: Home, database: Path) -> str:
    result = home.invoke("limits", "--db", str(database))
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(home: Home, database: Path) -> list[dict[str, Any]]:
    result = home.invoke("limits", "--db", str(database), "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


UNIFIED = "anthropic-ratelimit-unified-"


def test_windows_are_shown_with_a_bar_the_reset_and_the_age(home: Home, database: Path) -> None:
    fill(
        database,
        row(SUBSCRIPTION, f"{UNIFIED}5h-utilization", "0.5"),
        row(SUBSCRIPTION, f"{UNIFIED}5h-status", "allowed_warning"),
        row(SUBSCRIPTION, f"{UNIFIED}5h-reset", epoch(hours=2, minutes=5, seconds=30)),
        row(SUBSCRIPTION, f"{UNIFIED}7d-utilization", "1.02"),
        row(SUBSCRIPTION, f"{UNIFIED}7d-reset", epoch(days=3, hours=4, minutes=30)),
    )

    title, five_hours, week = shown(home, database).splitlines()

    assert title.startswith("anthropic · sk-a...0001 (subscription) · alice  ")
    assert title.endswith(" seen 3m ago")
    assert five_hours.split() == [
        *("5h", "█" * 8, "50%", "allowed_warning,", "resets", "in", "2h05m")
    ]
    assert week.split() == ["7d", "█" * 16, "102%", "resets", "in", "3d04h"]
    assert max(map(len, (title, five_hours, week))) <= 80


def test_use_is_unknown_after_the_reset(home: Home, database: Path) -> None:
    fill(
        database,
        row(SUBSCRIPTION, f"{UNIFIED}5h-utilization", "0.5", ago(hours=3)),
        row(SUBSCRIPTION, f"{UNIFIED}5h-reset", epoch(minutes=-20), ago(hours=3)),
    )

    line = shown(home, database).splitlines()[1]

    assert line.split() == ["5h", "—", "was", "50%,", "reset", "20m", "ago"]


def test_limits_of_a_central_key_are_shown_once_for_all_actors(home: Home, database: Path) -> None:
    fill(
        database,
        row((*CENTRAL, "alice"), "x-ratelimit-remaining-tokens", "9000", ago(hours=1)),
        row((*CENTRAL, "bob"), "x-ratelimit-remaining-tokens", "5000"),
        row((*CENTRAL, "bob"), "x-ratelimit-limit-tokens", "10000"),
        row((*CENTRAL, "carol"), "x-ratelimit-reset-tokens", "6m0s", ago(seconds=1)),
    )

    title, tokens = shown(home, database).splitlines()

    assert title.startswith("openai · sk-p...9999 (centralized) · alice and 2 more ")
    assert tokens.split()[:7] == ["tokens", "█" * 8, "50%", "5,000", "of", "10.0k", "left,"]


def test_the_same_hint_of_two_actors_is_shown_apart(home: Home, database: Path) -> None:
    fill(
        database,
        row(("openai", "byok", "sk-1...2", "alice"), "x-ratelimit-remaining-tokens", "1"),
        row(
            ("openai", "byok", "sk-1...2", "bob"), "x-ratelimit-remaining-tokens", "2", ago(days=2)
        ),
        row(("openai", "", "", "eve"), "retry-after", "30", ago(days=3)),
    )

    found = as_json(home, database)

    assert [credential["actors"] for credential in found] == [["alice"], ["bob"], ["eve"]]
    assert (found[2]["credential_kind"], found[2]["credential_hint"]) == (None, None)
    assert "openai · no key · eve" in shown(home, database)
    assert "seen 2d00h ago" in shown(home, database)


def test_json_has_limits_and_the_headers_as_sent(home: Home, database: Path) -> None:
    fill(
        database,
        row(SUBSCRIPTION, f"{UNIFIED}5h-utilization", "0.5"),
        row(SUBSCRIPTION, f"{UNIFIED}representative-claim", "five_hour"),
    )

    [found] = as_json(home, database)

    assert found["limits"] == [
        {
            "name": "5h",
            "is_window": True,
            "used": 0.5,
            "limit": None,
            "remaining": None,
            "status": None,
            "resets_at": None,
            "seen_at": found["seen_at"],
        }
    ]
    assert found["headers"][f"{UNIFIED}representative-claim"]["value"] == "five_hour"


def test_unreadable_headers_are_not_shown_as_limits(home: Home, database: Path) -> None:
    fill(database, row(SUBSCRIPTION, "x-ratelimit-remaining-tokens", "many"))

    assert "no limit that can be read; see --json" in shown(home, database)


def test_names_of_actors_cannot_control_the_terminal(home: Home, database: Path) -> None:
    fill(database, row((*SUBSCRIPTION[:3], "\x1b[2Jeve"), "retry-after", "3"))

    assert "\x1b" not in shown(home, database)


def test_database_without_rate_limits_says_so(home: Home, database: Path) -> None:
    assert "No response in" in shown(home, database)
    assert as_json(home, database) == []
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DROP TABLE aibridge_rate_limits")
    assert "No response in" in shown(home, database)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0s"), (59, "59s"), (60, "1m"), (3600, "1h00m"), (86399, "23h59m"), (90000, "1d01h")],
)
def test_span_has_its_two_largest_units(seconds: int, expected: str) -> None:
    assert span(timedelta(seconds=seconds)) == expected


KEYS: list[dict[str, Any]] = [
    {
        "provider": "anthropic",
        "key": "KEY_1",
        "organization": "eu",
        "hint": "sk-a...0001",
        "state": "set aside",
        "reason": "credential (HTTP 401)",
        "since": (_Clock.now - timedelta(minutes=5)).isoformat(),
        "next_check": (_Clock.now + timedelta(days=1, hours=1)).isoformat(),
        "is_checked": True,
    },
    {
        "provider": "anthropic",
        "key": "KEY_2",
        "organization": None,
        "hint": "sk-a...0002",
        "state": "ok",
        "reason": "",
        "since": None,
        "next_check": None,
        "is_checked": False,
    },
]


def test_keys_are_shown_with_state_reason_age_and_next_check() -> None:
    now = datetime.fromisoformat(KEYS[0]["since"]) + timedelta(minutes=5)
    lines = list(key_lines(KEYS, now))
    assert lines[0].split() == ["anthropic", "·", "KEY_1", "(eu)", "set", "aside", "5m", "ago"]
    assert lines[1] == "  credential (HTTP 401); checked again in 1d01h"
    assert lines[2].split() == ["anthropic", "·", "KEY_2", "ok"]


def test_health_of_several_processes_has_the_worst_state_of_each_key() -> None:
    good = [{**state, "state": "ok"} for state in KEYS]
    healths = [Health(database="ok", keys=keys) for keys in (good, KEYS, good)]
    assert [key["state"] for key in Health.of_all(healths).keys] == ["set aside", "ok"]
    assert read_health(Health.of_all(healths).as_json()).keys == KEYS


def test_limits_without_a_proxy_have_no_keys(home: Home) -> None:
    assert "No running proxy" in home.invoke("limits", "--keys").stdout
    assert json.loads(home.invoke("limits", "--keys", "--json").stdout) == []


def test_line_of_limits_tells_shared_ones_apart_and_one_process_without_database_counts() -> None:
    divided, together = {"processes": 2}, {"processes": 2, "divided": 0, "shared": 1}
    line = "Limits of the config file: each of 2 processes enforces 1/2."
    assert limits_line(divided) == line
    counted = {**together, "together": True}
    assert limits_line(counted) == "Shared limits: counted in the database for all processes."
    assert limits_line({**counted, "divided": 1}).splitlines()[1] == line
    all_ = Health.of_all(
        [Health(database="ok", limits={**counted, "together": n}) for n in (True, False)]
    )
    assert all_.limits
    assert "does not respond; each process enforces its part" in limits_line(all_.limits)
