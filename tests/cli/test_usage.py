"""`aibridge usage`: sums, spans of time, and a database that is not touched."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlite_utils import Database
from store.doubles import ended, started, tokens

from aibridge_addon.cli.totals import summary, totals_of
from aibridge_addon.cli.usage import short_time
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.store import open_store
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.usage import UsageQuery, UsageTotal
from cli.command import Home

type Row = tuple[int, str, str | None, str, str | None, str | None, list[tuple[int | None, ...]]]

ROWS: tuple[Row, ...] = (
    # days ago, actor, model, client, session, status, token rows (input, output, read, write)
    (0, "alice", "opus", "Claude Code", "s-1", "completed", [(10, 20, 300, 4)]),
    (0, "alice", "opus", "Claude Code", "s-1", "failed", []),
    (2, "bob", "gpt", "Codex", None, "completed", [(1, 2, None, None), (3, 4, 0, 0)]),
    (30, "[red]eve", None, "Unknown", None, None, [(1000, 2000, 0, 0)]),
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with the requests in `ROWS`."""
    path = tmp_path / "some.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        db = Database(connection)
        migrate(db)
        for number, (days, actor, model, client, session, status, usages) in enumerate(ROWS):
            began = datetime.now(UTC) - timedelta(days=days, seconds=1)
            row = {
                "id": str(number),
                "initiator_id": actor,
                "metadata": "{}",
                "provider": "anthropic",
                "provider_name": "anthropic",
                "api": "anthropic_messages",
                "model": model,
                "client": client,
                "client_session_id": session,
                "started_at": began.isoformat(timespec="microseconds"),
                "status": status,
            }
            db.table("aibridge_interceptions").insert(row)
            for index, usage in enumerate(usages):
                names = (
                    "input_tokens",
                    "output_tokens",
                    "cache_read_input_tokens",
                    "cache_write_input_tokens",
                )
                values = dict(zip(names, usage, strict=True))
                child = {
                    "id": f"{number}-{index}",
                    "interception_id": str(number),
                    "created_at": row["started_at"],
                }
                db.table("aibridge_token_usages").insert(child | values)
    return path


def shown(home: Home, database: Path, *words: str) -> list[list[str]]:
    """Return the rows of the table, cell by cell."""
    result = home.invoke("usage", "--db", str(database), *words)
    assert result.exit_code == 0, result.output
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.output.splitlines()]
    return [cells for cells in lines if len(cells) > 2]


def test_usage_totals_models_over_the_last_week(home: Home, database: Path) -> None:
    head, opus, gpt, total = shown(home, database)
    assert head[:3] == ["model", "requests", "failed"]
    assert opus[:7] == ["opus", "2", "1", "10", "300", "4", "20"]
    assert gpt[:7] == ["gpt", "1", "·", "4", "·", "·", "6"]
    assert total[:7] == ["total", "3", "1", "14", "300", "4", "26"]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("actor", ["[red]eve", "alice", "bob", "total"]),
        ("client", ["Unknown", "Claude Code", "Codex", "total"]),
        ("session", ["none", "s-1", "total"]),
    ],
)
def test_usage_groups_by_every_grouping(
    home: Home, database: Path, by: str, names: list[str]
) -> None:
    rows = shown(home, database, "--since", "all", "--by", by)
    assert [cells[0] for cells in rows] == [by, *names]


def test_usage_breaks_no_value_on_a_narrow_terminal(home: Home, database: Path) -> None:
    model = "claude-opus-4-8-with-a-long-name"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE aibridge_interceptions SET model = ?", [model])
    words = ("usage", "--db", str(database), "--since", "all")
    shown = home.invoke(*words, env={"COLUMNS": "40"}).output
    [row] = (line for line in shown.splitlines() if model in line)
    assert re.search(r" 2,026 .* (\d{4}-)?\d\d-\d\d \d\d:\d\d$", row.rstrip())


def test_usage_prints_no_control_characters(home: Home, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE aibridge_interceptions SET client_session_id = ?", ["\x1b]0;x"])
    shown = home.invoke("usage", "--db", str(database), "--since", "all", "--by", "session").output
    assert "\x1b" not in shown
    assert "�]0;x" in shown
    assert summary([UsageTotal("\x1b[2J", requests=1)]).startswith("1 request · �[2J: ")


def test_usage_by_day_is_in_order(home: Home, database: Path) -> None:
    days = [cells[0] for cells in shown(home, database, "--since", "all", "--by", "day")][1:-1]
    assert days == sorted(days)
    assert len(days) == 3


@pytest.mark.parametrize(("span", "requests"), [("1d", 1), ("3d", 2), ("5w", 3), ("90m", 1)])
def test_usage_since_a_span(home: Home, database: Path, span: str, requests: int) -> None:
    rows = shown(home, database, "--since", span, "--by", "actor")[1:]
    assert len([cells for cells in rows if cells[0] != "total"]) == requests


def test_usage_since_a_date(home: Home, database: Path) -> None:
    day = (datetime.now().astimezone() - timedelta(days=5)).date().isoformat()
    assert len(shown(home, database, "--since", day)) == 4


@pytest.mark.parametrize(("year", "printed"), [(2026, "01-31 09:05"), (2027, "2026-01-31 09:05")])
def test_latest_request_of_an_earlier_year_is_shown_with_its_year(year: int, printed: str) -> None:
    assert short_time(datetime(2026, 1, 31, 9, 5), datetime(year, 2, 1)) == printed


def test_table_leaves_15_of_80_columns_for_the_names(home: Home, database: Path) -> None:
    lines = home.invoke("usage", "--db", str(database)).output.splitlines()
    without_names = max(map(len, lines)) - len("model")
    assert without_names + len("claude-opus-4-8") < 80


@pytest.mark.parametrize("since", ["tomorrow", "7", "7y", "2026-99-99", f"{9**20}d"])
def test_usage_refuses_an_invalid_period(home: Home, database: Path, since: str) -> None:
    result = home.invoke("usage", "--db", str(database), "--since", since)
    assert result.exit_code == 2
    assert "is not a span" in result.stderr


def test_usage_reads_beside_a_writer_and_changes_nothing(home: Home, database: Path) -> None:
    before = database.read_bytes()
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        before = database.read_bytes()
        writer.execute("BEGIN IMMEDIATE")
        shown(home, database)
        writer.execute("ROLLBACK")
        assert database.read_bytes() == before


def test_usage_distinguishes_missing_empty_and_invalid_databases(
    home: Home, tmp_path: Path
) -> None:
    missing = home.invoke("usage", "--db", str(tmp_path / "no.sqlite3"))
    assert missing.exit_code == 1
    assert "nothing was recorded yet" in missing.stderr
    assert not (tmp_path / "no.sqlite3").exists()
    other = tmp_path / "other.sqlite3"
    other.write_text("nonsense" * 100)
    assert home.invoke("usage", "--db", str(other)).exit_code == 1
    with closing(sqlite3.connect(tmp_path / "empty.sqlite3")) as connection:
        migrate(Database(connection))
    empty = home.invoke("usage", "--db", str(tmp_path / "empty.sqlite3"))
    assert empty.exit_code == 0
    assert "There are no records" in empty.output


def test_usage_reads_the_database_of_the_running_proxy(shared: Home) -> None:
    shared.run("run", "-q", "--", "true")
    result = shared.invoke("usage", "--since", "all")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_summary_has_requests_and_tokens_by_group(database: Path) -> None:
    line = summary(open_store(database).read_usage(UsageQuery(by="actor")))
    assert line.startswith("4 requests (1 did not complete) · [red]eve: 1,000 in, 2,000 out · ")
    assert "alice: 10 in, 300 from cache, 4 to cache, 20 out" in line
    assert summary([UsageTotal("m", requests=1)]) == "1 request · m: 0 in, 0 out"
    assert summary([]) == "no requests to AI providers"
    assert summary([], unrecorded=1) == "no recorded requests (1 request passed)"
    assert summary([], unrecorded=2) == "no recorded requests (2 requests passed)"


def add_requests(database: Path, *requests: tuple[str, str, str, int | None]) -> None:
    """Add requests without usage: model, API, status, HTTP status."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, (model, api, status, http_status) in enumerate(requests):
            moment = datetime.now(UTC).isoformat(timespec="microseconds")
            row = {
                "id": f"added-{number}",
                "initiator_id": "carol",
                "metadata": "{}",
                "provider": "openai",
                "provider_name": "openai",
                "api": api,
                "model": model,
                "started_at": moment,
                "ended_at": moment,
                "status": status,
                "http_status": http_status,
            }
            Database(connection).table("aibridge_interceptions").insert(row)


def test_unreported_tokens_are_unknown_and_not_zero(home: Home, database: Path) -> None:
    add_requests(
        database,
        ("silent", "openai_chat", "completed", 200),
        ("silent", "openai_chat", "cancelled", None),
        ("opus", "anthropic_messages", "interrupted", None),
    )
    head, opus, gpt, silent, total = shown(home, database)
    assert head[3:8] == ["input", "read", "write", "output", "no usage"]
    assert opus[3:8] == ["10", "300", "4", "20", "1"]
    assert gpt[3:8] == ["4", "·", "·", "6", "·"]
    assert silent[3:8] == ["—", "—", "—", "—", "2"]
    assert total[3:8] == ["14", "300", "4", "26", "3"]
    output = home.invoke("usage", "--db", str(database)).output
    assert "no usage reported for 3 of 6 requests (aibridge_ask_chat_usage=always" in output


@pytest.mark.parametrize(
    ("status", "http_status"),
    [("refused", 400), ("failed", 429), ("failed", None), ("refused", None)],
)
def test_requests_without_costs_are_not_unknown(
    home: Home, database: Path, status: str, http_status: int | None
) -> None:
    add_requests(database, ("silent", "openai_chat", status, http_status))
    assert "no usage reported" not in home.invoke("usage", "--db", str(database)).output


def test_usage_names_the_option_only_for_chat_completions(home: Home, database: Path) -> None:
    add_requests(database, ("silent", "openai_responses", "completed", 200))
    output = home.invoke("usage", "--db", str(database)).output
    assert "no usage reported for 1 of 4 requests: their tokens are not included." in output


def test_usage_json_has_null_for_unknown_tokens(home: Home, database: Path) -> None:
    add_requests(database, ("silent", "openai_chat", "completed", 200))
    totals = json.loads(home.invoke("usage", "--db", str(database), "--json").output)
    by_name = {total["name"]: total for total in totals}
    assert by_name["silent"]["input"] is by_name["silent"]["output"] is None
    assert by_name["silent"]["without_usage"] == 1
    assert (by_name["gpt"]["input"], by_name["gpt"]["without_usage"]) == (4, 0)


def test_summary_states_requests_without_reported_usage() -> None:
    totals = [
        UsageTotal("known", requests=2, input=5, output=6),
        UsageTotal("silent", requests=1, without_usage=1, chats_without_usage=1),
    ]
    assert summary(totals) == (
        "3 requests · known: 5 in, 6 out · silent: tokens unknown · no usage reported for 1 of 3"
        " requests (aibridge_ask_chat_usage=always requests it from Chat Completions)"
    )


def test_proxy_counts_requests_without_reported_usage_by_model() -> None:
    metrics = Metrics()
    silent, known = (started(model=model, api="openai_chat") for model in ("silent", "known"))
    facts = (silent, ended(silent, usage_reported=False), known, tokens(known), ended(known))
    for fact in facts:
        metrics.observe(fact)

    by_name = {total.name: total for total in totals_of(metrics.registry)}
    assert by_name["silent"].is_unknown
    assert (by_name["silent"].chats_without_usage, by_name["known"].without_usage) == (1, 0)
