"""Processes that die, and processes side by side: what is recovered, by whom, and how often."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from store.doubles import all_of_one, ended, prompt, prompts, rows, started

from aibridge_addon.store.recorder import subscriber
from aibridge_addon.store.spool import Spool
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from aibridge_addon.store.statements import statements

OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from aibridge_addon.store.recorder import subscriber
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from store.doubles import ended, prompt, started

recorder = SQLiteRecorder(Path(sys.argv[1]))
recorder.start()
keep = subscriber(recorder)
interception = started()
keep(interception)
keep(prompt(interception))

async def kept():
    return await recorder.kept()

assert asyncio.run(kept())
print(interception.id, flush=True)
if sys.stdin.readline():
    keep(ended(interception))
    recorder.close()
"""
BOUND = 30
LATER = "9999-01-01T00:00:00.000000+00:00"
LATER_SPOOL = "aibridge.sqlite3.spool-ffffffff-ffff-7fff-8fff-ffffffffffff.jsonl"
OLD_SPOOL = "aibridge.sqlite3.spool-00000000-0000-7000-8000-00000000000{}.jsonl"


@pytest.fixture
def database(tmp_path):
    return tmp_path / "aibridge.sqlite3"


@contextmanager
def other_process(database):
    """A process with an open interception, and the interception's id."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(database)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def recording(database, *facts):
    recorder = SQLiteRecorder(database)
    recorder.start()
    try:
        for fact in facts:
            subscriber(recorder)(fact)
        yield recorder
    finally:
        recorder.close()


def statuses(database):
    return {row["id"]: row["status"] for row in rows(database, "interceptions")}


def leave_spool(database, number, *facts):
    """Leave a spool as a process before this one would."""
    spool = Spool(database)
    spool.path = database.with_name(OLD_SPOOL.format(number))
    spool.append(statements(facts))
    return spool.path


def test_what_a_killed_process_left_open_is_interrupted_at_the_next_start(database):
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


def test_what_a_live_process_has_open_is_left_to_it(database):
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


async def _kept(recorder):
    assert await recorder.kept()


def test_interception_from_before_the_clock_went_back_is_closed_at_the_next_start(database):
    late = started(started_at=LATER)
    with recording(database, late):
        pass

    with recording(database):
        assert statuses(database) == {late.id: "interrupted"}


def test_spool_from_before_the_clock_went_back_is_taken_in(database):
    path = leave_spool(database, 1, prompt(started(), "spooled"))
    path.rename(database.with_name(LATER_SPOOL))

    with recording(database):
        assert prompts(database) == ["spooled"]
    assert not list(database.parent.glob("*.spool-*"))


def test_late_recovery_beside_a_newer_process_takes_only_what_is_older(database):
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


def test_late_recovery_alone_takes_everything_but_the_own_spool(database):
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
def test_bad_line_in_a_spool_stops_neither_the_start_nor_the_other_lines(database, line, caplog):
    path = leave_spool(database, 1, prompt(started(), "1"))
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    leave_spool(database, 1, prompt(started(), "2"))

    with recording(database) as recorder:
        assert recorder.available
        assert prompts(database) == ["1", "2"]

    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert not path.exists()


def test_spool_that_cannot_be_read_stays_and_the_others_are_taken_in(database, caplog):
    unreadable = database.with_name(OLD_SPOOL.format(1))
    unreadable.mkdir()
    leave_spool(database, 2, prompt(started(), "2"))

    with recording(database) as recorder:
        assert recorder.available
        assert prompts(database) == ["2"]

    assert unreadable.exists()
    assert f"cannot ingest {unreadable}, so it stays" in caplog.text
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_an_interrupted_interception_can_still_be_ended_by_a_spool(database):
    interception = started()
    with recording(database, interception, prompt(interception)):
        pass
    leave_spool(database, 1, ended(interception))

    with recording(database):
        assert statuses(database) == {interception.id: "completed"}


def test_spools_of_dead_processes_are_taken_in_oldest_first(database):
    interception = started()
    for number in (3, 1, 2):
        leave_spool(database, number, prompt(interception, f"{number}a"))
        leave_spool(database, number, prompt(interception, f"{number}b"))

    with recording(database):
        assert prompts(database) == ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert not list(database.parent.glob("*.spool-*"))


def test_a_spool_of_a_live_process_is_left_to_it(database):
    with other_process(database):
        path = leave_spool(database, 1, prompt(started(), "spooled"))
        with recording(database):
            assert prompts(database) == ["Hello"]
        assert path.exists()


def test_a_crash_between_commit_and_removal_of_the_spool_records_nothing_twice(database):
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
def test_a_torn_last_line_of_a_spool_is_left_out_and_said(database, cut, caplog):
    interception = started()
    path = leave_spool(database, 1, prompt(interception, "1"), prompt(interception, "2"))
    path.write_bytes(path.read_bytes()[: -1 - cut])

    with recording(database):
        assert prompts(database) == ["1"]

    assert f"skipped an incomplete line of {path}" in caplog.text
    assert not path.exists()


def test_what_follows_a_torn_line_is_whole(database):
    interception = started()
    path = leave_spool(database, 1, prompt(interception, "1"), prompt(interception, "2"))
    path.write_bytes(path.read_bytes()[:-20])
    leave_spool(database, 1, prompt(interception, "3"))

    with recording(database):
        assert prompts(database) == ["1", "3"]


def test_a_spool_with_nothing_whole_in_it_is_removed_all_the_same(database):
    path = database.with_name(OLD_SPOOL.format(1))
    path.write_bytes(b'\n{"statement": "user_pr')

    with recording(database):
        pass

    assert not path.exists()


def test_more_than_one_transaction_of_a_spool_is_taken_in(database, monkeypatch):
    monkeypatch.setattr("aibridge_addon.store.sqlite.writer._TRANSACTION_SIZE", 3)
    interception = started()
    expected = [str(number) for number in range(10)]
    leave_spool(database, 1, *(prompt(interception, text) for text in expected))

    with recording(database):
        assert prompts(database) == expected
