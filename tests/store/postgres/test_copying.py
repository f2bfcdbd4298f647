"""Copying a SQLite database into PostgreSQL: complete, resumable, and compared."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from databases import PostgresDatabase, SQLiteFile
from store.doubles import ended, limits, prompt, started, tokens, tokens_so_far, tool

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.cli import main
from aibridge_addon.facts import new_id
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres import copying
from aibridge_addon.store.postgres.copying import Copied, MissingRowsError, copy_file
from aibridge_addon.store.postgres.store import PostgresStore
from aibridge_addon.store.sqlite.store import SQLiteStore

TABLES = ("interceptions", "token_usages", "user_prompts", "tool_usages", "budget_entries")


@pytest.fixture
def source(tmp_path: Path) -> SQLiteFile:
    return SQLiteFile(tmp_path)


@pytest.fixture
def target(postgres_server: str) -> PostgresDatabase:
    return PostgresDatabase(postgres_server)


def copy(source: SQLiteFile, target: PostgresDatabase) -> dict[str, Copied]:
    copied: list[Copied] = []
    store = target.store
    assert isinstance(store, PostgresStore)
    store.copy_file(Path(source.location), copied.append)
    return {one.table.removeprefix("aibridge_"): one for one in copied}


def whole(source: SQLiteFile, number: int) -> None:
    """Record requests with all that belongs to them."""
    for _ in range(number):
        one = started()
        source.write(one, prompt(one, "a\0b"), tokens(one), tool(one), ended(one))


def same_rows(source: SQLiteFile, target: PostgresDatabase, name: str) -> None:
    def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: str(v).replace("\0", "\ufffd") for k, v in row.items()} for row in rows]

    assert comparable(target.rows(name)) == comparable(source.rows(name))


def test_every_row_is_copied_and_reported(source: SQLiteFile, target: PostgresDatabase) -> None:
    whole(source, 3)
    source.execute(
        "INSERT INTO aibridge_budget_entries VALUES (?, 'i', 'b', 's', 0, 'usd', 'w', 7, 'h', 't')",
        [new_id()],
    )

    copied = copy(source, target)

    for name in TABLES:
        same_rows(source, target, name)
    assert (copied["interceptions"].rows, copied["interceptions"].written) == (3, 3)
    assert target.select("SELECT spent FROM aibridge_budget_counters") == [(7,)]
    assert target.select("SELECT count(*) FROM aibridge_endings") == [(3,)]


def test_second_copy_writes_only_what_is_new_or_has_ended_since(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    whole(source, 2)
    one = started()
    usage = tokens(one)
    source.write(one, tokens_so_far(usage))
    copy(source, target)

    source.write(usage, ended(one))
    whole(source, 1)
    copied = copy(source, target)

    assert copied["interceptions"].written == 1
    for name in TABLES:
        same_rows(source, target, name)


def test_copy_that_was_stopped_continues(
    source: SQLiteFile, target: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH", 2)
    whole(source, 5)
    writes = copying._Copy._write

    def fails(self: Any, table: Any, rows: Any) -> None:
        rows = list(rows)
        if table.name == "aibridge_token_usages" and self._last(table):
            raise RuntimeError("stopped")
        writes(self, table, rows)

    monkeypatch.setattr(copying._Copy, "_write", fails)
    with pytest.raises(RuntimeError):
        copy(source, target)
    assert len(target.rows("token_usages")) == 2
    monkeypatch.setattr(copying._Copy, "_write", writes)

    copied = copy(source, target)

    assert copied["interceptions"].written == 0
    assert copied["token_usages"].written == 3
    for name in TABLES:
        same_rows(source, target, name)


def test_rows_that_are_missing_or_differ_are_copied_again(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    whole(source, 3)
    copy(source, target)
    source.execute("UPDATE aibridge_token_usages SET cost_nano_usd = 7")  # repriced
    source.execute("DELETE FROM aibridge_interceptions WHERE rowid = 1")
    source.execute("VACUUM")  # gives rows new numbers
    whole(source, 1)

    copied = copy(source, target)

    assert copied["token_usages"].rows == 4
    costs = "SELECT id, cost_nano_usd FROM aibridge_token_usages"
    assert set(target.select(costs)) == set(source.select(costs))
    assert {row["id"] for row in source.rows("interceptions")} < {
        row["id"] for row in target.rows("interceptions")
    }
    assert copy(source, target)["token_usages"].written == 0


def test_rows_that_cannot_be_copied_are_reported(
    source: SQLiteFile, target: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(source, 2)
    copy(source, target)
    target.execute("UPDATE aibridge_token_usages SET input_tokens = input_tokens + 1")
    monkeypatch.setattr(copying._Copy, "_write", lambda *_: None)
    with pytest.raises(MissingRowsError, match="aibridge_token_usages: of 2 rows, the copy has 2"):
        copy(source, target)
    target.execute("DELETE FROM aibridge_interceptions")
    with pytest.raises(MissingRowsError, match="aibridge_interceptions: of 2 rows, the copy has 0"):
        copy(source, target)


def test_second_copy_at_the_same_time_is_refused(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    whole(source, 1)
    refused = []

    def copy_too(copied: Copied) -> None:
        with pytest.raises(StoreError, match="another copy into this database is running"):
            copy(source, target)
        refused.append(copied)

    with target.connected() as connection:
        copy_file(Path(source.location), connection, copy_too)  # type: ignore[arg-type]
    assert refused
    assert copy(source, target)["interceptions"].written == 0


def test_rate_limits_that_the_target_has_seen_later_stay(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    one = started()
    source.write(one, replace(limits(one, requests="1"), seen_at="2026-01-01T00:00:00+00:00"))
    target.write(replace(limits(one, requests="2"), seen_at="2026-01-02T00:00:00+00:00"))
    copy(source, target)
    assert [row["value"] for row in target.rows("rate_limits", "header")] == ["2"]


def test_access_token_that_the_target_revoked_stays_revoked(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    _, token = AccessToken.make("alice")
    SQLiteStore(Path(source.location)).add_access_token(token)
    copy(source, target)
    target.store.revoke_access_tokens("alice")

    copy(source, target)

    [copied] = target.store.access_tokens().values()
    assert copied.revoked_at is not None


def test_source_goes_on_being_written_during_a_copy(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    source.execute("PRAGMA journal_mode = WAL")  # as every proxy sets it
    whole(source, 1)
    with target.connected() as connection:
        begun = False

        def write_more(copied: Copied) -> None:
            nonlocal begun
            if not begun:
                begun = True
                whole(source, 1)

        copy_file(Path(source.location), connection, write_more)  # type: ignore[arg-type]
    assert len(target.rows("interceptions")) == 1
    assert copy(source, target)["interceptions"].written == 1


def test_command_reports_tables_and_refuses_other_targets(
    source: SQLiteFile, target: PostgresDatabase
) -> None:
    whole(source, 1)
    runner = CliRunner()
    result = runner.invoke(main, ["migrate", source.location, target.location])
    assert result.exit_code == 0, result.output
    assert re.search(r"token_usages +1 rows +1 copied", result.output)
    assert f"Everything in {source.location} is in {target.location}" in result.output
    assert "spool" not in result.output
    Path(f"{source.location}.spool-1.jsonl").touch()
    result = runner.invoke(main, ["migrate", source.location, target.location])
    assert "But 1 file waiting beside the database: a proxy reads them" in result.output
    refused = runner.invoke(main, ["migrate", source.location, "/other.sqlite3"])
    assert refused.exit_code == 2
    assert "the target must be a PostgreSQL database" in refused.output


def test_file_of_another_program_is_refused(tmp_path: Path, target: PostgresDatabase) -> None:
    path = tmp_path / "other"
    path.write_text("no database at all, but long enough to be read as one")
    with target.connected() as connection, pytest.raises(StoreError, match="not a database"):
        copy_file(path, connection)  # type: ignore[arg-type]
