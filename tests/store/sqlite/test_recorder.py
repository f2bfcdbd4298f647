"""The SQLite recorder, with real files, its real thread and other connections that hold locks."""

import asyncio
import errno
import json
import os
import resource
import sqlite3
import stat
import threading
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from store.doubles import (
    all_of_one,
    ended,
    looking,
    prompt,
    prompts,
    rows,
    started,
    thought,
    tokens,
)

from aibridge_addon.facts import BackgroundResponse, HiddenTurns, Status, new_id, now
from aibridge_addon.store import spool
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.recorder import RecorderError, subscriber
from aibridge_addon.store.sqlite import database_file, sweeper, writer
from aibridge_addon.store.sqlite import recorder as recorder_module
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from aibridge_addon.store.sqlite.schema import TABLES

BOUND = 30
"""Seconds after which something that was awaited is taken for never."""


class Events:
    """What the recorder told, to be waited for."""

    def __init__(self):
        self.counts = Counter()
        self._changed = threading.Condition()

    def __call__(self, name, count):
        with self._changed:
            self.counts[name] += count
            self._changed.notify_all()

    async def reach(self, name, count):
        """Wait until so many statements had this event."""
        await asyncio.to_thread(self._wait, name, count)

    def _wait(self, name, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.counts[name] >= count, BOUND), self.counts


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Waits that nobody would notice in a test."""
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(recorder_module, "LINGER_SECONDS", 0.01)
    monkeypatch.setattr(sweeper, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(sweeper, "STEP_SECONDS", 0.0)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "aibridge.sqlite3"


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def start(database, events):
    """Start recorders; they are closed in the end."""
    made = []

    def start_one(path=database, **options):
        recorder = SQLiteRecorder(path, on_event=events, **options)
        made.append(recorder)
        recorder.start()
        return recorder

    yield start_one
    for recorder in made:
        recorder.close()


def keep(recorder, *facts):
    for fact in facts:
        subscriber(recorder)(fact)


async def kept(recorder):
    return await asyncio.wait_for(recorder.kept(), BOUND)


@contextmanager
def locked(database, how="IMMEDIATE"):
    """Another program writes, and does not come to an end."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"BEGIN {how}")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def no_space():
    """Files cannot grow: the same errors as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def connections(monkeypatch):
    """The connections of recorders, as they are made."""
    made = []
    connect = sqlite3.connect

    def connect_and_remember(*args, **kwargs):
        connection = connect(*args, **kwargs)
        if "check_same_thread" in kwargs:
            made.append(connection)
        return connection

    monkeypatch.setattr(recorder_module.sqlite3, "connect", connect_and_remember)
    return made


def spools(database):
    return sorted(database.parent.glob("*.spool-*.jsonl"))


def assert_no_error_is_logged(caplog):
    """mitmproxy ends itself over an error that is logged during its start."""
    assert [r.getMessage() for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")] == []


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# What is kept


async def test_an_interception_is_in_the_tables_with_all_that_belongs_to_it(start, database):
    recorder = start()
    interception = started()
    facts = all_of_one(interception)
    _, said, usage, call, idea, end = facts

    keep(recorder, *facts)

    assert await kept(recorder)
    child = {"interception_id": interception.id, "provider_response_id": "msg_1"}
    assert rows(database, "interceptions") == [
        {
            "id": interception.id,
            "initiator_id": "alice",
            "metadata": '{"team":"search","end":true}',
            "provider": "anthropic",
            "provider_name": "anthropic",
            "api": "anthropic_messages",
            "model": "claude-opus-4-5",
            "client": "Claude Code",
            "user_agent": "claude-cli/2",
            "client_session_id": "s-1",
            "correlating_tool_call_id": None,
            "request_kind": "turn",
            "prompt_id": "p-1",
            "agent_id": None,
            "credential_kind": "byok",
            "credential_hint": "sk-a...cdef",
            "streaming": 1,
            "started_at": interception.started_at,
            "ended_at": end.ended_at,
            "status": "completed",
            "http_status": 200,
            "error_type": None,
            "error_message": None,
            "partial": 0,
        }
    ]
    assert rows(database, "user_prompts") == [
        {
            **child,
            "id": said.id,
            "prompt": "Hello",
            "metadata": "{}",
            "created_at": said.created_at,
            "digest": None,
        }
    ]
    assert rows(database, "token_usages") == [
        {
            **child,
            "id": usage.id,
            "model": "claude-opus-4-5-20251101",
            "input_tokens": 10,
            "output_tokens": 20,
            "cache_read_input_tokens": 30,
            "cache_write_input_tokens": 40,
            "extra": '{"web_search_requests":2,"service_tier":"standard"}',
            "raw": '{"input_tokens":10}',
            "metadata": "{}",
            "created_at": usage.created_at,
        }
    ]
    assert rows(database, "tool_usages") == [
        {
            **child,
            "id": call.id,
            "tool": "Read",
            "tool_call_id": "toolu_1",
            "server_url": None,
            "input": '{"path":"/x"}',
            "injected": 0,
            "invocation_error": None,
            "metadata": "{}",
            "created_at": call.created_at,
        }
    ]
    assert rows(database, "model_thoughts") == [
        {
            **child,
            "id": idea.id,
            "content": "Hm.",
            "metadata": '{"source":"thinking"}',
            "created_at": idea.created_at,
        }
    ]


async def test_an_open_interception_has_its_start_and_its_prompt(start, database):
    recorder = start()
    interception = started()

    keep(recorder, interception, prompt(interception))

    assert await kept(recorder)
    (row,) = rows(database, "interceptions")
    assert (row["ended_at"], row["status"], row["partial"]) == (None, None, None)
    (row,) = rows(database, "user_prompts")
    assert row["provider_response_id"] is None


async def test_facts_are_written_in_the_order_in_which_they_were_recorded(start, database):
    recorder = start()
    interception = started()
    expected = [str(number) for number in range(300)]

    for number, text in enumerate(expected):
        keep(recorder, prompt(interception, text))
        if number % 70 == 0:
            assert await kept(recorder)

    assert await kept(recorder)
    assert prompts(database) == expected


async def test_the_start_alone_is_written_though_nobody_waits_for_it(start, database, connections):
    recorder = start()
    written = threading.Event()
    (connection,) = connections
    connection.set_trace_callback(lambda sql: written.set() if sql == "COMMIT" else None)

    keep(recorder, started())

    assert await asyncio.to_thread(written.wait, BOUND)
    recorder.close()
    assert len(rows(database, "interceptions")) == 1


async def test_prompt_of_one_digest_is_kept_once_whichever_process_brings_it(start, database):
    first, second = start(), start()
    interception = started()
    once = replace(prompt(interception, "a"), digest="d")

    keep(first, interception, once)
    assert await kept(first)
    keep(second, replace(once, id=new_id()), replace(once, id=new_id(), prompt="b", digest="e"))
    keep(second, prompt(interception, "c"), prompt(interception, "c"))

    assert await kept(second)
    assert prompts(database) == ["a", "b", "c", "c"]


async def test_all_who_wait_during_a_commit_share_the_next(start, database, connections):
    recorder = start()
    interception = started()
    (connection,) = connections
    statements = Counter()
    committing, go_on = threading.Event(), threading.Event()

    def trace(sql):
        statements[sql] += 1
        if sql == "COMMIT":
            committing.set()
            assert go_on.wait(BOUND)

    connection.set_trace_callback(trace)
    keep(recorder, prompt(interception, "first"))
    first = asyncio.ensure_future(recorder.kept())
    assert await asyncio.to_thread(committing.wait, BOUND)

    waiting = []
    for number in range(50):
        keep(recorder, prompt(interception, str(number)), tokens(interception))
        waiting.append(asyncio.ensure_future(recorder.kept()))
    assert not first.done()
    go_on.set()

    assert all(await asyncio.wait_for(asyncio.gather(first, *waiting), BOUND))
    assert statements["COMMIT"] == statements["BEGIN IMMEDIATE"] == 2
    assert prompts(database) == ["first", *map(str, range(50))]


def test_those_who_wait_may_have_event_loops_of_their_own(start):
    recorder = start()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(asyncio.run(kept(recorder))))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)

    assert answers == [True] * 4


async def test_who_stops_waiting_harms_nobody(start, connections):
    recorder = start()
    (connection,) = connections
    go_on = threading.Event()
    connection.set_trace_callback(lambda sql: sql == "COMMIT" and go_on.wait(BOUND))
    keep(recorder, started())

    impatient = asyncio.ensure_future(recorder.kept())
    patient = asyncio.ensure_future(recorder.kept())
    impatient.cancel()
    go_on.set()

    assert await asyncio.wait_for(patient, BOUND)
    assert impatient.cancelled()


async def test_what_is_left_is_written_at_the_close(start, database):
    recorder = start()

    keep(recorder, *all_of_one(started()))
    recorder.close()

    assert rows(database, "interceptions")[0]["status"] == "completed"


def test_the_end_of_a_loop_that_waited_harms_nobody(start, database):
    recorder = start()

    async def leave():
        keep(recorder, prompt(started()))
        _ = recorder.kept()

    with locked(database):
        asyncio.run(leave())
    assert asyncio.run(kept(recorder))


# The database is locked


async def test_while_the_database_is_locked_facts_are_kept_in_the_spool(start, database, events):
    recorder = start()
    interception = started()

    with locked(database):
        keep(recorder, prompt(interception, "1"), prompt(interception, "2"))
        assert await kept(recorder)

        assert not recorder.available
        assert events.counts == {"spooled": 2}
        (file,) = spools(database)
        assert mode(file) == 0o600
        assert [s.values["prompt"] for s in spool.read(file)] == ["1", "2"]
        assert prompts(database) == []


async def test_after_the_lock_the_spool_is_taken_in_once_and_in_order(start, database, events):
    recorder = start()
    interception = started()
    expected = [str(number) for number in range(40)]

    keep(recorder, prompt(interception, expected[0]))
    assert await kept(recorder)
    with locked(database):
        for text in expected[1:30]:
            keep(recorder, prompt(interception, text))
            assert await kept(recorder)
    for text in expected[30:]:
        keep(recorder, prompt(interception, text))
        assert await kept(recorder)
    await events.reach("recovered", events.counts["spooled"])

    assert await kept(recorder)
    assert recorder.available
    assert prompts(database) == expected
    assert spools(database) == []
    assert events.counts["recovered"] == events.counts["spooled"] >= 29


async def test_the_database_comes_back_though_nobody_asks(start, database, events):
    recorder = start()
    with locked(database):
        keep(recorder, prompt(started()))
        assert await kept(recorder)

    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


async def test_an_outage_is_logged_at_its_begin_and_its_end_only(start, database, events, caplog):
    recorder = start()
    with locked(database):
        for _ in range(5):
            keep(recorder, prompt(started()))
            assert await kept(recorder)
    await events.reach("recovered", 5)
    assert await kept(recorder)

    warnings = [r.getMessage() for r in caplog.records if r.levelname in ("WARNING", "ERROR")]
    assert warnings == [
        "aibridge: the database is unavailable, facts are spooled: database is locked",
        "aibridge: the database is available again",
    ]


@pytest.mark.parametrize("exists", [True, False], ids=["existing", "new"])
@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_recorder_starts_and_spools_while_another_program_holds_the_database(
    start, database, events, caplog, exists, how
):
    if exists:
        start().close()
    with locked(database, how):
        recorder = start()
        assert not recorder.available
        keep(recorder, prompt(started()))
        assert await kept(recorder)
        assert len(spools(database)) == 1
    assert "the database is unavailable, facts are spooled: database is locked" in caplog.text
    assert_no_error_is_logged(caplog)

    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


async def test_recorder_starts_with_a_full_disk(start, database, events, caplog):
    start().close()
    with no_space():
        recorder = start()
        keep(recorder, prompt(started()))
        assert not await kept(recorder)
        assert not recorder.available
    assert_no_error_is_logged(caplog)

    while not recorder.available:
        assert await kept(recorder)

    assert prompts(database) == ["Hello"]


async def test_recorder_starts_and_spools_with_a_read_only_database_file(
    start, database, events, caplog, monkeypatch
):
    start().close()
    open_ = os.open
    denied = True

    def open_unless_denied(path, *args):
        if denied and path == database:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_(path, *args)

    monkeypatch.setattr(database_file.os, "open", open_unless_denied)
    recorder = start()
    keep(recorder, prompt(started()))
    assert await kept(recorder)
    assert len(spools(database)) == 1
    assert "facts are spooled: [Errno 13] Permission denied" in caplog.text
    assert_no_error_is_logged(caplog)

    denied = False
    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


async def test_recorder_starts_with_a_database_that_sqlite_cannot_write(
    start, database, events, caplog, monkeypatch
):
    start().close()
    migrate = database_file.migrate

    def read_only(db):
        db.execute("PRAGMA query_only = 1")
        migrate(db)
        db.execute("CREATE TABLE x (a)")

    monkeypatch.setattr(database_file, "migrate", read_only)
    recorder = start()
    keep(recorder, prompt(started()))
    assert await kept(recorder)
    assert not recorder.available
    assert_no_error_is_logged(caplog)


async def test_a_folder_without_write_permission_is_refused_where_there_is_no_database(
    start, database, monkeypatch
):
    def deny(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(database_file.os, "open", deny)

    assert refused(start, database) == f"{database}: Read-only file system"


async def test_what_is_spooled_at_the_end_is_taken_in_at_the_next_start(start, database):
    with locked(database):
        recorder = start()
        keep(recorder, *all_of_one(started()))
        recorder.close()
        assert len(spools(database)) == 1

    start()

    assert rows(database, "interceptions")[0]["status"] == "completed"
    assert prompts(database) == ["Hello"]
    assert spools(database) == []


async def test_a_spool_that_somebody_tidied_away_does_not_keep_the_database_away(
    start, database, events
):
    recorder = start()
    with locked(database):
        keep(recorder, prompt(started(), "lost"))
        assert await kept(recorder)
        spools(database)[0].unlink()

    # The next that is kept is in the spool or, after it, in the database.
    keep(recorder, prompt(started(), "kept"))
    assert await kept(recorder)
    while not recorder.available:
        assert await kept(recorder)

    assert prompts(database) == ["kept"]


# The database is full, and the disk too


async def test_a_full_database_is_away_until_there_is_room(start, database, events, connections):
    recorder = start()
    (connection,) = connections
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    keep(recorder, prompt(started(), "x" * 100_000))
    assert await kept(recorder)
    assert not recorder.available
    assert len(spools(database)) == 1

    connection.execute("PRAGMA max_page_count = 1000000")
    await events.reach("recovered", 1)

    assert prompts(database) == ["x" * 100_000]


async def test_without_database_and_spool_facts_wait_in_memory_and_are_not_said_to_be_kept(
    start, database, events
):
    recorder = start()
    interception = started()

    with no_space():
        for number in range(5):
            keep(recorder, prompt(interception, str(number)))
            assert not await kept(recorder)
        assert not recorder.available
    while not recorder.available:
        assert await kept(recorder)

    assert prompts(database) == ["0", "1", "2", "3", "4"]
    assert events.counts["lost"] == 0
    assert spools(database) == []


async def test_the_memory_is_bounded_and_the_oldest_are_lost(
    start, database, events, monkeypatch, caplog
):
    monkeypatch.setattr(writer, "MAX_IN_MEMORY", 3)
    recorder = start()
    interception = started()

    with no_space():
        for number in range(5):
            keep(recorder, prompt(interception, str(number)))
            assert not await kept(recorder)
    while not recorder.available:
        assert await kept(recorder)

    assert events.counts["lost"] == 2
    assert "lost 1 statements: neither database nor spool is writable" in caplog.text
    assert prompts(database) == ["2", "3", "4"]


async def test_what_is_lost_with_the_process_is_said(start, database, events, caplog):
    recorder = start()
    with no_space():
        keep(recorder, prompt(started()))
        assert not await kept(recorder)
        recorder.close()

    assert events.counts["lost"] == 1
    assert "lost 1 statements" in caplog.text


async def test_what_is_in_memory_at_the_end_gets_a_last_try(start, database, monkeypatch):
    def append(path, work):
        raise OSError("no spool here")

    monkeypatch.setattr(writer, "RETRY_SECONDS", (3600.0, 3600.0))
    monkeypatch.setattr(spool, "append", append)
    recorder = start()
    with locked(database):
        keep(recorder, prompt(started()))
        assert not await kept(recorder)

    recorder.close()

    assert prompts(database) == ["Hello"]


# The database file is gone, or another


async def test_a_deleted_database_is_made_anew(start, database):
    recorder = start()
    keep(recorder, prompt(started(), "old"))
    assert await kept(recorder)

    database.unlink()
    interception = started()
    keep(recorder, prompt(interception, "new"), ended(interception))

    assert await kept(recorder)
    assert prompts(database) == ["new"]
    (row,) = rows(database, "interceptions")
    assert (row["id"], row["model"], row["status"]) == (
        interception.id,
        "claude-opus-4-5",
        "completed",
    )


async def test_a_replaced_database_is_the_one_that_is_written(start, database, tmp_path):
    recorder = start()
    keep(recorder, prompt(started(), "old"))
    assert await kept(recorder)
    other = tmp_path / "other.sqlite3"
    start(other).close()

    os.replace(other, database)
    keep(recorder, prompt(started(), "new"))

    assert await kept(recorder)
    assert prompts(database) == ["new"]
    with looking(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


async def test_a_database_replaced_by_something_else_is_away_until_it_is_removed(
    start, database, events
):
    recorder = start()

    database.unlink()
    database.write_text("This is no database." * 100)
    keep(recorder, prompt(started()))
    assert await kept(recorder)
    assert not recorder.available
    database.unlink()
    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


# Statements that do not fit


async def test_what_does_not_fit_is_set_aside_and_all_else_is_kept(start, database, events):
    recorder = start()
    interception = started()
    misfits = [
        tokens(interception, input_tokens=2**63),
        started(initiator_id=None),
        prompt(interception, "half a \ud800 pair"),
    ]

    keep(recorder, interception, prompt(interception), misfits[0], thought(interception))
    keep(recorder, misfits[1], misfits[2], ended(interception))

    assert await kept(recorder)
    assert recorder.available
    assert events.counts == {"rejected": 3}
    assert [row["status"] for row in rows(database, "interceptions")] == ["completed"]
    assert prompts(database) == ["Hello"]
    assert len(rows(database, "model_thoughts")) == 1
    assert rows(database, "token_usages") == []
    rejected = database.with_name("aibridge.sqlite3.rejected.jsonl")
    assert mode(rejected) == 0o600
    lines = [json.loads(line) for line in rejected.read_text().splitlines() if line]
    assert [line["statement"] for line in lines] == ["token_usage", "interception", "user_prompt"]
    assert lines[0]["values"]["input_tokens"] == 2**63
    assert lines[2]["values"]["prompt"] == "half a \ud800 pair"


async def test_a_misfit_in_a_spool_does_not_hold_up_the_others(start, database, events):
    recorder = start()
    interception = started()
    with locked(database):
        keep(recorder, prompt(interception, "1"), tokens(interception, output_tokens=2**64))
        assert await kept(recorder)
        keep(recorder, prompt(interception, "2"))
        assert await kept(recorder)

    await events.reach("recovered", 3)

    assert prompts(database) == ["1", "2"]
    assert events.counts["rejected"] == 1


async def test_a_bug_in_the_writer_ends_neither_it_nor_who_waits(
    start, database, events, monkeypatch, caplog
):
    recorder = start()
    good = recorder_module.statements

    def fail(facts):
        if facts:
            raise RuntimeError("a bug")
        return []

    monkeypatch.setattr(recorder_module, "statements", fail)
    keep(recorder, prompt(started(), "lost"))
    assert not await kept(recorder)
    monkeypatch.setattr(recorder_module, "statements", good)
    keep(recorder, prompt(started(), "kept"))

    assert await kept(recorder)
    assert prompts(database) == ["kept"]
    assert events.counts["lost"] == 1
    assert "the recorder failed" in caplog.text


# The start


def test_the_file_is_made_with_its_folder_and_is_only_the_user_s(start, tmp_path):
    path = tmp_path / "new" / "deep" / "x.sqlite3"

    recorder = start(path)

    assert recorder.path == path
    for file in path.parent.iterdir():
        assert mode(file) == 0o600, file


def test_a_path_in_the_home_directory_is_expanded(start, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    start(Path("~/x.sqlite3"))

    assert (tmp_path / "x.sqlite3").exists()


def refused(start, path):
    """The message with which a start is refused; nothing stays open."""
    with pytest.raises(RecorderError) as caught:
        start(path)
    return str(caught.value)


def test_what_is_no_database_is_refused(start, database):
    database.write_text("Dear diary, " * 100)

    assert refused(start, database) == (
        f"{database} is not an aibridge database: file is not a database"
    )
    assert database.read_text().startswith("Dear diary")
    ownership = Ownership(database)
    ownership.acquire()
    ownership.release()
    assert ownership.alone


def test_a_directory_is_refused(start, tmp_path):
    assert refused(start, tmp_path) == f"{tmp_path}: Is a directory"


def test_a_path_that_cannot_be_made_is_refused(start, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.sqlite3"

    assert refused(start, path).startswith(f"{path}: ")


def test_a_newer_schema_is_refused(start, database):
    start().close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('aibridge', 'm999_from_the_future', '2099')"
        )

    assert refused(start, database) == (
        f"{database}: it was migrated by a newer version: m999_from_the_future;"
        " update aibridge_addon"
    )


def test_status_values_are_those_of_the_contract():
    assert {*Status} == {"completed", "failed", "cancelled", "refused", "interrupted"}


OLD = "2020-01-01T00:00:00.000000+00:00"


async def test_what_is_older_than_the_retention_is_deleted_with_all_that_belongs_to_it(
    start, database, events, monkeypatch
):
    monkeypatch.setattr(sweeper, "STEP_ROWS", 2)
    recorder = start()
    old = [all_of_one(started(started_at=OLD)) for _ in range(5)]
    new = all_of_one(started())
    keep(recorder, *(fact for facts in (*old, new) for fact in facts))
    await kept(recorder)
    recorder.close()
    start(retention=Retention(interceptions=30))
    await events.reach("forgotten", 5)
    with looking(database) as connection:
        for table in TABLES[:5]:
            key = "id" if table == "aibridge_interceptions" else "interception_id"
            ids = {row[0] for row in connection.execute(f"SELECT {key} FROM {table}")}
            assert ids == {new[0].id}, table


async def test_an_old_interception_that_is_still_open_is_kept(start, database, events):
    recorder = start(retention=Retention(interceptions=30))
    kept_open, gone = started(started_at=OLD), started(started_at=OLD)
    keep(recorder, kept_open, gone, ended(gone))
    await kept(recorder)
    await events.reach("forgotten", 1)
    assert [row["id"] for row in rows(database, "interceptions")] == [kept_open.id]


async def test_hidden_turns_are_kept_as_long_as_was_said(start, database, events):
    recorder = start()
    for key, created_at in (("old", OLD), ("new", now())):
        turns = HiddenTurns(scope="s", key=key, content="{}", created_at=created_at)
        recorder.record_hidden_turns(turns)
    await kept(recorder)
    recorder.close()
    later = start(retention=Retention(interceptions=30, hidden_turns=30))
    sign = started(started_at=OLD)
    keep(later, sign, ended(sign))
    await events.reach("forgotten", 1)
    assert await later.find_hidden_turns("s", ["old", "new", "none"]) == {"new": "{}"}
    assert await later.find_hidden_turns("other", ["new"]) == {}


def background_response(interception, **changes):
    fact = BackgroundResponse(
        interception=interception,
        provider_response_id="resp_1",
        prompted=True,
        token_usage_id="u-1",
        created_at=now(),
    )
    return replace(fact, **changes)


async def test_background_response_stays_open_over_a_restart_until_its_end(start, database):
    interception = started()
    fact = background_response(interception)
    recorder = start()
    keep(recorder, interception, fact)
    assert await kept(recorder)
    recorder.close()

    later = start()

    assert rows(database, "interceptions")[0]["ended_at"] is None
    name = interception.provider_name
    assert await later.find_background_response(name, "resp_1") == fact
    assert await later.find_background_response(name, "resp_2") is None
    assert await later.find_background_response("another", "resp_1") is None
    keep(later, ended(interception, in_background=True))
    assert await kept(later)
    assert rows(database, "interceptions")[0]["status"] == "completed"
    assert await later.find_background_response(name, "resp_1") is None


async def test_background_response_that_nobody_polls_is_closed_after_a_month(start, database):
    recorder = start()
    new, old = started(), started()
    keep(recorder, new, background_response(new))
    keep(recorder, old, background_response(old, provider_response_id="r", created_at=OLD))
    assert await kept(recorder)
    while len(rows(database, "background_responses")) > 1:
        assert await kept(recorder)

    found = {
        row["id"]: (row["status"], row["error_type"]) for row in rows(database, "interceptions")
    }
    assert found == {new.id: (None, None), old.id: ("interrupted", "never_polled")}
