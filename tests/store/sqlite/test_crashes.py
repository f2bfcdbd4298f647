"""Recovery after crashes, and processes that use the same database."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from store.doubles import all_of_one, ended, prompt, prompts, record, rows, started

from aibridge_addon.facts import Fact
from aibridge_addon.store.spool import Spool
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from aibridge_addon.store.statements import statements

OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from store.doubles import ended, prompt, record, started

recorder = SQLiteRecorder(Path(sys.argv[1]))
recorder.start()
interception = started()
record(recorder, interception, prompt(interception))

async def kept():
    return await recorder.kept()

assert asyncio.run(kept())
print(interception.id, flush=True)
if sys.stdin.readline():
    record(recorder, ended(interception))
    recorder.close()
"""
BOUND = 30
pytestmark = pytest.mark.e2e
LATER = "9999-01-01T00:00:00.000000+00:00"
LATER_SPOOL = "aibridge.sqlite3.spool-ffffffff-ffff-7fff-8fff-ffffffffffff.jsonl"
OLD_SPOOL = "aibridge.sqlite3.spool-00000000-0000-7000-8000-00000000000{}.jsonl"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "aibridge.sqlite3"


@contextmanager
def other_process(database: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a process with an open interception; yields it with the interception's id."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(database)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def recording(database: Path, *facts: Fact) -> Iterator[SQLiteRecorder]:
    recorder = SQLiteRecorder(database)
    recorder.start()
    try:
        record(recorder, *facts)
        yield recorder
    finally:
        recorder.close()


def statuses(database: Path) -> dict[str, str | None]:
    return {row["id"]: row["status"] for row in rows(database, "interceptions")}


def leave_spool(database: Path, number: int, *facts: Fact) -> Path:
    """Write a spool as an earlier process would."""
    spool = Spool(database)
    spool.path = database.with_name(OLD_SPOOL.format(number))
    spool.append(statements(facts))
    return spool.path


def test_open_interception_of_a_killed_process_is_interrupted_at_the_next_start(
    database: Path,
) -> None:
    with other_process(database) as (process, interception_id):
        assert interception_id
        assert statuses(database) == {interception_id: None}
        process.send_signal(signal.SIGKILL)
        process.wait(BOUND)

    with recording(database):
        (row,) = rows(database, "interceptions")

    assert (row["status"], row["partial"]) == ("interrupted", 1)
    assert row["ended_at"] > row["started_at"]
    assert prompts(database) == ["Hello"]


def test_open_interception_of_a_live_process_is_not_interrupted(database: Path) -> None:
    own = started()
    with other_process(database) as (process, interception_id):
        with recording(database, own) as recorder:
            assert statuses(database)[interception_id] is None
            asyncio.run(asyncio.wait_for(_kept(recorder), BOUND))
            assert statuses(database) == {interception_id: None, own.id: None}
            process.communicate("end\n", timeout=BOUND)
        assert process.returncode == 0
    assert statuses(database) == {interception_id: "completed", own.id: None}

    with recording(database):
        assert statuses(database) == {interception_id: "completed", own.id: "interrupted"}


async def _kept(recorder: SQLiteRecorder) -> None:
    assert await recorder.kept()


def test_interception_from_before_the_clock_went_back_is_closed_at_the_next_start(
    database: Path,
) -> None:
    late = started(started_at=LATER)
    with recording(database, late):
        pass

    with recording(database):
        assert statuses(database) == {late.id: "interrupted"}


def test_spool_from_before_the_clock_went_back_is_ingested(database: Path) -> None:
    path = leave_spool(database, 1, prompt(started(), "spooled"))
    path.rename(database.with_name(LATER_SPOOL))

    with recording(database):
        assert prompts(database) == ["spooled"]
    assert not list(database.parent.glob("*.spool-*"))


def test_late_recovery_beside_a_newer_process_touches_only_older_work(database: Path) -> None:
    late = started(started_at=LATER)
    with recording(database, late):
        pass
    leave_spool(database, 1, prompt(started(), "older"))
    newer = leave_spool(database, 2, prompt(started(), "newer"))
    newer = newer.rename(database.with_name(LATER_SPOOL))
    other = Ownership(database)

    with closing(sqlite3.connect(database, isolation_level=None)) as program:
        program.execute("BEGIN IMMEDIATE")
        with recording(database) as recorder:
            assert not recorder.available
            other.acquire()
            program.execute("ROLLBACK")
            while not recorder.available:
                asyncio.run(asyncio.wait_for(_kept(recorder), BOUND))
            assert prompts(database) == ["older"]
            assert statuses(database) == {late.id: None}
    other.release()
    assert newer.exists()


def test_late_recovery_alone_ingests_every_spool_of_ended_processes(database: Path) -> None:
    with recording(database):
        pass
    newer = leave_spool(database, 1, prompt(started(), "newer"))
    newer.rename(database.with_name(LATER_SPOOL))
    own = started()

    with closing(sqlite3.connect(database, isolation_level=None)) as program:
        program.execute("BEGIN IMMEDIATE")
        with recording(database, own, prompt(own, "own")) as recorder:
            asyncio.run(asyncio.wait_for(_kept(recorder), BOUND))
            program.execute("ROLLBACK")
            while not recorder.available:
                asyncio.run(asyncio.wait_for(_kept(recorder), BOUND))
            assert prompts(database) == ["newer", "own"]
            assert statuses(database) == {own.id: None}


BAD_LINES = {
    "values that are a list": '{"statement": "user_prompt", "values": [1, 2, 3, 4, 5, 6]}',
    "values that are missing": '{"statement": "user_prompt", "values": {"id": "x"}}',
    "a nested value": '{"statement": "user_prompt", "values": {"id": {"a": 1}}}',
    "deep nesting": "[" * 200_000,
    "a number without end": '{"statement": "user_prompt", "values": {"id": %s}}' % ("9" * 5000),
    "no interception": json.dumps(
        {"statement": "interception", "values": dict.fromkeys(started().__slots__)}
    ),
    "no text": "\ufffd\x00",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_bad_spool_line_prevents_neither_the_start_nor_other_lines(
    database: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = leave_spool(database, 1, prompt(started(), "1"))
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    leave_spool(database, 1, prompt(started(), "2"))

    with recording(database) as recorder:
        assert recorder.available
        assert prompts(database) == ["1", "2"]

    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert not path.exists()


def test_unreadable_spool_stays_and_other_spools_are_ingested(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = database.with_name(OLD_SPOOL.format(1))
    unreadable.mkdir()
    leave_spool(database, 2, prompt(started(), "2"))

    with recording(database) as recorder:
        assert recorder.available
        assert prompts(database) == ["2"]

    assert unreadable.exists()
    assert f"cannot ingest {unreadable}, so it stays" in caplog.text
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_spool_can_end_an_interrupted_interception(database: Path) -> None:
    interception = started()
    with recording(database, interception, prompt(interception)):
        pass
    leave_spool(database, 1, ended(interception))

    with recording(database):
        assert statuses(database) == {interception.id: "completed"}


def test_spools_of_ended_processes_are_ingested_oldest_first(database: Path) -> None:
    interception = started()
    for number in (3, 1, 2):
        leave_spool(database, number, prompt(interception, f"{number}a"))
        leave_spool(database, number, prompt(interception, f"{number}b"))

    with recording(database):
        assert prompts(database) == ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert not list(database.parent.glob("*.spool-*"))


def test_spool_of_a_live_process_is_not_ingested(database: Path) -> None:
    with other_process(database):
        path = leave_spool(database, 1, prompt(started(), "spooled"))
        with recording(database):
            assert prompts(database) == ["Hello"]
        assert path.exists()


def test_crash_between_commit_and_deletion_of_the_spool_records_nothing_twice(
    database: Path,
) -> None:
    interceptions = [started() for _ in range(3)]
    facts = [fact for interception in interceptions for fact in all_of_one(interception)]
    path = leave_spool(database, 1, *facts)
    copy = shutil.copy(path, database.with_name("copy"))
    tables = ("interceptions", "token_usages", "user_prompts", "tool_usages", "model_thoughts")

    with recording(database):
        first = {table: rows(database, table) for table in tables}
    shutil.copy(copy, path)
    with recording(database):
        second = {table: rows(database, table) for table in tables}

    assert first == second
    assert [len(found) for found in first.values()] == [3] * 5
    assert not path.exists()


@pytest.mark.parametrize("cut", [1, 10, 50])
def test_incomplete_last_spool_line_is_skipped_and_logged(
    database: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    interception = started()
    path = leave_spool(database, 1, prompt(interception, "1"), prompt(interception, "2"))
    path.write_bytes(path.read_bytes()[: -1 - cut])

    with recording(database):
        assert prompts(database) == ["1"]

    assert f"skipped an incomplete line of {path}" in caplog.text
    assert not path.exists()


def test_line_after_an_incomplete_spool_line_is_ingested(database: Path) -> None:
    interception = started()
    path = leave_spool(database, 1, prompt(interception, "1"), prompt(interception, "2"))
    path.write_bytes(path.read_bytes()[:-20])
    leave_spool(database, 1, prompt(interception, "3"))

    with recording(database):
        assert prompts(database) == ["1", "3"]


def test_spool_without_complete_lines_is_deleted(database: Path) -> None:
    path = database.with_name(OLD_SPOOL.format(1))
    path.write_bytes(b'\n{"statement": "user_pr')

    with recording(database):
        pass

    assert not path.exists()


def test_spool_larger_than_a_transaction_is_ingested(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge_addon.store.record_writer._TRANSACTION_SIZE", 3)
    interception = started()
    expected = [str(number) for number in range(10)]
    leave_spool(database, 1, *(prompt(interception, text) for text in expected))

    with recording(database):
        assert prompts(database) == expected
