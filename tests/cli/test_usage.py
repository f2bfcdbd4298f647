"""`aibridge usage`: sums, spans of time, and a database that is not touched."""

import csv
import io
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlite_utils import Database
from store.doubles import ended, started, tokens

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.cli import known_actors
from aibridge_addon.cli.totals import summary, totals_of
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.periods import short_time
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.report.rows import GroupRow
from aibridge_addon.store import open_store
from aibridge_addon.store.sqlite.schema import migrate
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
    """Return the rows of the table, cell by cell, with the last line of its head."""
    result = home.invoke("usage", "--db", str(database), *words)
    assert result.exit_code == 0, result.output
    lines = result.output.split("\n")
    [rule] = (number for number, line in enumerate(lines) if line.startswith("──"))
    rows = list(takewhile(bool, lines[rule + 1 :]))
    footer = [line for line in lines if line.startswith("total")]
    return [re.split(r"\s+", line.strip()) for line in (lines[rule - 1], *rows, *footer)]


def records(home: Home, database: Path, *words: str) -> dict[str, dict[str, Any]]:
    """Return the JSON objects by name."""
    result = home.invoke("usage", "--db", str(database), "--json", *words)
    assert result.exit_code == 0, result.output
    return {record["name"]: record for record in json.loads(result.output)}


def test_usage_totals_models_over_the_last_week(home: Home, database: Path) -> None:
    head, opus, gpt, total = shown(home, database)
    assert head[:4] == ["model", "cost", "requests", "failed"]
    assert opus[:9] == ["opus", "—", "██████", "2", "1", "10", "300", "4", "96%"]
    assert gpt[:9] == ["gpt", "—", "█▊", "1", "·", "4+", "—", "—", "—"]
    assert total[:9] == ["total", "—", "3", "1", "14+", "300+", "4+", "94%", "26+"]


def test_json_has_the_fields_of_earlier_versions(home: Home, database: Path) -> None:
    opus = records(home, database)["opus"]
    earlier = ("requests", "failed", "input", "cache_read", "cache_write", "output")
    assert [opus[name] for name in earlier] == [2, 1, 10, 300, 4, 20]
    assert (opus["without_usage"], opus["chats_without_usage"]) == (0, 0)
    assert opus["latest"].startswith("20")


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("actor", ["[red]eve", "alice", "bob", "total"]),
        ("client", ["Unknown", "Claude", "Codex", "total"]),
        ("session", ["none", "s-1", "total"]),
        ("provider", ["anthropic"]),
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
    [row] = (line for line in shown.splitlines() if line.startswith(model))
    assert re.search(r" 2,026\+$", row)


def test_usage_prints_no_control_characters(home: Home, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE aibridge_interceptions SET client_session_id = ?", ["\x1b]0;x"])
    shown = home.invoke("usage", "--db", str(database), "--since", "all", "--by", "session").output
    assert "\x1b" not in shown
    assert "�]0;x" in shown
    assert summary([named("\x1b[2J", requests=1)]).startswith("1 request · �[2J: ")


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


def test_table_fits_into_80_columns(home: Home, database: Path) -> None:
    model = "claude-sonnet-4-5-20250929"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE aibridge_interceptions SET model = ?", [model])
        connection.execute("UPDATE aibridge_token_usages SET cost_nano_usd = 123456789012")
    for by in ("model", "session", "actor,model", "day"):
        words = ("usage", "--db", str(database), "--by", by)
        lines = home.invoke(*words, env={"COLUMNS": "80"}).output.splitlines()
        assert max(map(len, lines)) <= 80, "\n".join(lines)


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
    line = summary(open_store(database).reports().totals(TotalsQuery(by=("actor",))).rows)
    assert line.startswith("4 requests (1 did not complete) · [red]eve: 1,000 in, 2,000 out · ")
    assert "alice: 10 in, 300 from cache, 4 to cache, 20 out" in line
    assert summary([named("m", requests=1)]) == "1 request · m: 0 in, 0 out"
    assert summary([]) == "no requests to AI providers"
    assert summary([], unrecorded=1) == "no recorded requests (1 request passed)"
    assert summary([], unrecorded=2) == "no recorded requests (2 requests passed)"


def named(name: str, **figures: int) -> GroupRow:
    """Return the totals of a model."""
    return GroupRow(names=(name,), figures=Figures(**figures))  # type: ignore[arg-type]


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
    rows = {row[0]: row for row in shown(home, database)}
    assert rows["silent"].count("—") == 6  # cost, tokens and the share of the cache
    assert rows["opus"].count("—") == 1
    found = records(home, database)
    assert [found[name]["without_usage"] for name in ("opus", "gpt", "silent")] == [1, 0, 2]
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
    assert "no usage reported for 1 of 4 requests" in output


def test_usage_json_has_null_for_unknown_tokens(home: Home, database: Path) -> None:
    add_requests(database, ("silent", "openai_chat", "completed", 200))
    totals = json.loads(home.invoke("usage", "--db", str(database), "--json").output)
    by_name = {total["name"]: total for total in totals}
    assert by_name["silent"]["input"] is by_name["silent"]["output"] is None
    assert by_name["silent"]["without_usage"] == 1
    assert (by_name["gpt"]["input"], by_name["gpt"]["without_usage"]) == (4, 0)


def test_summary_states_requests_without_reported_usage() -> None:
    totals = [
        named("known", requests=2, input=5, output=6),
        named("silent", requests=1, without_usage=1, chats_without_usage=1),
    ]
    assert summary(totals) == (
        "3 requests · known: 5 in, 6 out · silent: tokens unknown · no usage reported for 1 of 3"
        " requests (aibridge_ask_chat_usage=always requests it from Chat Completions)"
    )


def test_summary_states_what_was_billed_and_what_was_not() -> None:
    billed = named("m", requests=3, cost_nano_usd=10**9, list_price_nano_usd=10**9, unpriced=1)
    assert summary([billed]).endswith(" · $1.00 + $1.00 list price, not billed + 1 unpriced")
    assert summary([named("m", requests=1, unpriced=1)]).endswith(" · 1 unpriced")


def test_unknown_tokens_are_a_dash_and_sums_that_lack_them_have_a_plus(
    home: Home, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE aibridge_token_usages SET output_tokens = NULL WHERE interception_id IN"
            " (SELECT id FROM aibridge_interceptions WHERE model = 'gpt')"
        )
    output = home.invoke("usage", "--db", str(database)).output
    assert "tokens are at least: 1 request reported only some of them" in output
    gpt = records(home, database)["gpt"]
    assert (gpt["output"], gpt["incomplete"]) == (None, 1)
    head, _, row, total = shown(home, database)
    assert row[head.index("output")] == "—"
    assert total[head.index("output")].endswith("+")


def test_summary_of_a_run_states_unknown_tokens() -> None:
    metrics = Metrics()
    sent = started(model="some")
    for fact in (sent, tokens(sent, output_tokens=None), ended(sent)):
        metrics.observe(fact)
    assert "some: 10+ in, 30 from cache, 40 to cache, — out" in summary(totals_of(metrics.registry))


def test_proxy_counts_requests_without_reported_usage_by_model() -> None:
    metrics = Metrics()
    silent, known = (started(model=model, api="openai_chat") for model in ("silent", "known"))
    facts = (silent, ended(silent, usage_reported=False), known, tokens(known), ended(known))
    for fact in facts:
        metrics.observe(fact)

    by_name = {row.names[0]: row.figures for row in totals_of(metrics.registry)}
    assert by_name["silent"].tokens_unknown
    assert (by_name["silent"].chats_without_usage, by_name["known"].without_usage) == (1, 0)


def price(database: Path, **costs: int | None) -> None:
    """Set the costs of requests, by actor."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for actor, cost in costs.items():
            connection.execute(
                "UPDATE aibridge_token_usages SET cost_nano_usd = ?, uncached_cost_nano_usd = ?"
                " WHERE interception_id IN"
                " (SELECT id FROM aibridge_interceptions WHERE initiator_id = ?)",
                [cost, cost and 3 * cost, actor],
            )


def test_cost_with_an_unknown_part_has_a_plus_and_a_note(home: Home, database: Path) -> None:
    price(database, alice=1_500_000_000)
    output = home.invoke("usage", "--db", str(database)).output
    assert "$1.50+ · 3 requests (1 failed) · 94% of input from cache, saved $3.00" in output
    assert "+ 1 unpriced request (model gpt)" in output
    assert [row[:2] for row in shown(home, database)[1:3]] == [["opus", "$1.50"], ["gpt", "—"]]


def test_subscription_is_shown_apart_from_the_cost(home: Home, database: Path) -> None:
    price(database, alice=1_500_000_000, bob=10_000_000)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE aibridge_interceptions SET credential_kind = 'subscription'"
            " WHERE initiator_id = 'alice'"
        )
    output = home.invoke("usage", "--db", str(database)).output
    assert "\n$0.0200 · 3 requests" in output
    assert "list price of subscriptions, not billed: $1.50" in output
    assert [row[:2] for row in shown(home, database)[1:3]] == [
        ["opus", "($1.50)"],
        ["gpt", "$0.0200"],
    ]


def test_two_groupings_show_a_repeated_name_once(home: Home, database: Path) -> None:
    add_requests(database, ("gpt", "openai_chat", "failed", 500), ("opus", "x", "failed", 500))
    rows = [row[:2] for row in shown(home, database, "--by", "actor,model")]
    assert rows[:4] == [["actor", "model"], ["alice", "opus"], ["bob", "gpt"], ["carol", "gpt"]]
    assert rows[4][0] == "opus"


def test_limit_states_how_many_rows_it_leaves_out(home: Home, database: Path) -> None:
    words = ("--since", "all", "--by", "actor", "--limit", "1")
    output = home.invoke("usage", "--db", str(database), *words).output
    assert "[red]eve" in output
    assert "alice" not in output
    assert "… 2 more" in output
    assert "4 requests" in output


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--actor", "bob"], {"gpt"}),
        (["--model", "o*"], {"opus"}),
        (["--client", "Codex,Claude Code"], {"opus", "gpt"}),
        (["--status", "failed"], {"opus"}),
        (["--session", "s-"], {"opus"}),
        (["--until", "1d"], {"gpt"}),
    ],
)
def test_filters_select_requests(
    home: Home, database: Path, words: list[str], names: set[str]
) -> None:
    assert set(records(home, database, *words)) == names


def test_until_a_day_includes_that_day(home: Home, database: Path) -> None:
    day = (datetime.now().astimezone() - timedelta(days=2, seconds=1)).date().isoformat()
    assert set(records(home, database, "--since", day, "--until", day)) == {"gpt"}


def test_period_is_stated_with_its_zone(home: Home, database: Path) -> None:
    first = home.invoke("usage", "--db", str(database), env={"TZ": "UTC"}).output.splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d to now \(\S.*\)", first)


@pytest.mark.parametrize("by", ["modle", "actor,model,day", "", "meta"])
def test_unknown_grouping_is_refused(home: Home, database: Path, by: str) -> None:
    result = home.invoke("usage", "--db", str(database), "--by", by)
    assert result.exit_code == 2


def test_csv_contains_no_formula_and_no_control_character(home: Home, database: Path) -> None:
    hostile = ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "a\x1b]0;x\x07"]
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, name in enumerate(hostile):
            connection.execute(
                "INSERT INTO aibridge_interceptions (id, initiator_id, metadata, provider,"
                " provider_name, api, model, started_at)"
                " SELECT ?, initiator_id, metadata, provider, provider_name, api, ?, started_at"
                " FROM aibridge_interceptions WHERE id = '0'",
                [f"h{number}", name],
            )
    output = home.invoke("usage", "--db", str(database), "--csv").output
    rows = list(csv.DictReader(io.StringIO(output)))
    assert len(rows) == 8
    assert not [row["model"] for row in rows if row["model"].lstrip()[:1] in "=+-@\t"]
    assert {"'=HYPERLINK(1)", "'-1"} <= {row["model"] for row in rows}
    assert "\x1b" not in output


def test_csv_leaves_unknown_cells_empty(home: Home, database: Path) -> None:
    price(database, alice=1_500_000_000)
    add_requests(database, ("silent", "openai_chat", "completed", 200))
    output = home.invoke("usage", "--db", str(database), "--csv").output
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(output))}
    assert rows["opus"]["cost_usd"] == "1.500000000"
    assert rows["gpt"]["cost_usd"] == rows["gpt"]["cache_read"] == rows["silent"]["input"] == ""
    assert rows["opus"]["cache_read"] == "300"


@pytest.mark.parametrize("owner", ["alice", "a.smith"])
def test_owner_of_an_access_token_sees_only_own_usage(
    home: Home, database: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    home.config.write_text('[[actors]]\nmatch = "a.smith"\nid = "alice"\n')
    proxy = SimpleNamespace(config=str(home.config))
    monkeypatch.setattr(known_actors, "running", SimpleNamespace(find=lambda: proxy))
    text, token = AccessToken.make(owner)
    open_store(database).add_access_token(token)
    words = ("usage", "--db", str(database), "--since", "all", "--by", "actor", "--mine", "--json")
    result = home.invoke(*words, env={"AIBRIDGE_LOGIN": f"me:{text}"})
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in json.loads(result.output)] == ["alice"]
