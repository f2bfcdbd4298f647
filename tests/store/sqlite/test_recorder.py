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
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
from locks import locked
from sqlite_utils import Database
from store.doubles import (
    all_of_one,
    ended,
    looking,
    prompt,
    prompts,
    record,
    rows,
    started,
    thought,
    tokens,
)

from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    HiddenTurns,
    Interception,
    Status,
    new_id,
    now,
    this_process_id,
)
from aibridge_addon.store import preparation as preparation_module
from aibridge_addon.store import record_writer, spool, threaded_recorder
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.recorder import RecorderError
from aibridge_addon.store.sql import sweeper
from aibridge_addon.store.sqlite import database_file
from aibridge_addon.store.sqlite.ownership import Ownership
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from aibridge_addon.store.sqlite.schema import TABLES, migrate
from aibridge_addon.store.statements import Statement, statements

BOUND = 30
"""Time limit in seconds of every wait."""


class Start(Protocol):
    """Starts a recorder, at the path of the test or at another."""

    def __call__(self, path: Path = ..., **options: Any) -> SQLiteRecorder: ...


class Events:
    """Counts of the events that a recorder reported; tests can wait for them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()

    def __call__(self, name: str, count: int) -> None:
        with self._changed:
            self.counts[name] += count
            self._changed.notify_all()

    async def reach(self, name: str, count: int) -> None:
        """Wait until an event was reported for at least `count` statements."""
        await asyncio.to_thread(self._wait, name, count)

    def _wait(self, name: str, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.counts[name] >= count, BOUND), self.counts


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all waits."""
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(record_writer, "RETRY_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(threaded_recorder, "LINGER_SECONDS", 0.01)
    monkeypatch.setattr(sweeper, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(sweeper, "STEP_SECONDS", 0.0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "aibridge.sqlite3"


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def start(database: Path, events: Events) -> Iterator[Start]:
    """Start recorders, which are closed after the test."""
    made = []

    def start_one(path: Path = database, **options: Any) -> SQLiteRecorder:
        recorder = SQLiteRecorder(path, on_event=events, **options)
        made.append(recorder)
        recorder.start()
        return recorder

    yield start_one
    for recorder in made:
        recorder.close()


async def kept(recorder: SQLiteRecorder) -> bool:
    return await asyncio.wait_for(recorder.kept(), BOUND)


@contextmanager
def no_space() -> Iterator[None]:
    """Prevent files from growing, with the errors of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Connections of recorders, in the order of their creation."""
    made: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_and_remember(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        if "check_same_thread" in kwargs:
            made.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_remember)
    return made


def spools(database: Path) -> list[Path]:
    return sorted(database.parent.glob("*.spool-*.jsonl"))


def assert_no_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Assert that mitmproxy would start: it exits if an error is logged at its start."""
    assert [r.getMessage() for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")] == []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Rows


async def test_every_fact_of_an_interception_is_in_the_tables(start: Start, database: Path) -> None:
    recorder = start()
    interception = started()
    facts = all_of_one(interception)
    _, typed, usage, call, idea, end = facts

    record(recorder, *facts)

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
            "access_token_id": "aaaaaaaaaa",
            "ttft_ms": 250,
            "process_id": this_process_id(),
        }
    ]
    assert rows(database, "user_prompts") == [
        {
            **child,
            "id": typed.id,
            "prompt": "Hello",
            "metadata": "{}",
            "created_at": typed.created_at,
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
            "upstream": 1,
            "started_at": "2026-11-28T12:00:00.000000+00:00",
            "duration_ms": 1500,
            "ttft_ms": 200,
            "service_tier": "standard",
            "cost_nano_usd": None,
            "uncached_cost_nano_usd": None,
            "price_source": None,
            "unpriced_reason": None,
            "provider_cost_nano_usd": None,
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
            "duration_ms": 30,
            "result_bytes": 12,
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


async def test_open_interception_is_recorded_with_its_start_and_prompt(
    start: Start, database: Path
) -> None:
    recorder = start()
    interception = started()

    record(recorder, interception, prompt(interception))

    assert await kept(recorder)
    (row,) = rows(database, "interceptions")
    assert (row["ended_at"], row["status"], row["partial"]) == (None, None, None)
    (row,) = rows(database, "user_prompts")
    assert row["provider_response_id"] is None


async def test_facts_are_written_in_the_order_of_recording(start: Start, database: Path) -> None:
    recorder = start()
    interception = started()
    expected = [str(number) for number in range(300)]

    for number, text in enumerate(expected):
        record(recorder, prompt(interception, text))
        if number % 70 == 0:
            assert await kept(recorder)

    assert await kept(recorder)
    assert prompts(database) == expected


async def test_start_of_an_interception_is_written_without_a_waiter(
    start: Start, database: Path, connections: list[sqlite3.Connection]
) -> None:
    recorder = start()
    written = threading.Event()
    (connection,) = connections
    connection.set_trace_callback(lambda sql: written.set() if sql == "COMMIT" else None)

    record(recorder, started())

    assert await asyncio.to_thread(written.wait, BOUND)
    recorder.close()
    assert len(rows(database, "interceptions")) == 1


async def test_prompt_with_the_same_digest_is_stored_once_across_processes(
    start: Start, database: Path
) -> None:
    first, second = start(), start()
    interception = started()
    once = replace(prompt(interception, "a"), digest="d")

    record(first, interception, once)
    assert await kept(first)
    record(second, replace(once, id=new_id()), replace(once, id=new_id(), prompt="b", digest="e"))
    record(second, prompt(interception, "c"), prompt(interception, "c"))

    assert await kept(second)
    assert prompts(database) == ["a", "b", "c", "c"]


async def test_waiters_during_a_commit_share_the_next_commit(
    start: Start, database: Path, connections: list[sqlite3.Connection]
) -> None:
    recorder = start()
    interception = started()
    (connection,) = connections
    statements: Counter[str] = Counter()
    committing, go_on = threading.Event(), threading.Event()

    def trace(sql: str) -> None:
        statements[sql] += 1
        if sql == "COMMIT":
            committing.set()
            assert go_on.wait(BOUND)

    connection.set_trace_callback(trace)
    record(recorder, prompt(interception, "first"))
    first = asyncio.ensure_future(recorder.kept())
    assert await asyncio.to_thread(committing.wait, BOUND)

    waiting = []
    for number in range(50):
        record(recorder, prompt(interception, str(number)), tokens(interception))
        waiting.append(asyncio.ensure_future(recorder.kept()))
    assert not first.done()
    go_on.set()

    assert all(await asyncio.wait_for(asyncio.gather(first, *waiting), BOUND))
    assert statements["COMMIT"] == statements["BEGIN IMMEDIATE"] == 2
    assert prompts(database) == ["first", *map(str, range(50))]


def test_waiters_can_be_on_different_event_loops(start: Start) -> None:
    recorder = start()
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(kept(recorder))))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)

    assert results == [True] * 4


async def test_cancelled_waiter_does_not_affect_other_waiters(
    start: Start, connections: list[sqlite3.Connection]
) -> None:
    recorder = start()
    (connection,) = connections
    go_on = threading.Event()
    connection.set_trace_callback(lambda sql: sql == "COMMIT" and go_on.wait(BOUND))
    record(recorder, started())

    impatient = asyncio.ensure_future(recorder.kept())
    patient = asyncio.ensure_future(recorder.kept())
    impatient.cancel()
    go_on.set()

    assert await asyncio.wait_for(patient, BOUND)
    assert impatient.cancelled()


async def test_queued_facts_are_written_on_close(start: Start, database: Path) -> None:
    recorder = start()

    record(recorder, *all_of_one(started()))
    recorder.close()

    assert rows(database, "interceptions")[0]["status"] == "completed"


def test_closed_event_loop_of_a_waiter_does_not_affect_the_recorder(
    start: Start, database: Path
) -> None:
    recorder = start()

    async def leave() -> None:
        record(recorder, prompt(started()))
        _ = recorder.kept()

    with locked(database):
        asyncio.run(leave())
    assert asyncio.run(kept(recorder))


# The database is locked


async def test_facts_are_spooled_while_the_database_is_locked(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    interception = started()

    with locked(database):
        record(recorder, prompt(interception, "1"), prompt(interception, "2"))
        assert await kept(recorder)

        assert not recorder.available
        assert events.counts == {"spooled": 2}
        (file,) = spools(database)
        assert mode(file) == 0o600
        assert [s.values["prompt"] for s in spool.read(file)] == ["1", "2"]
        assert prompts(database) == []


async def test_spool_is_ingested_once_and_in_order_after_the_lock(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    interception = started()
    expected = [str(number) for number in range(40)]

    record(recorder, prompt(interception, expected[0]))
    assert await kept(recorder)
    with locked(database):
        for text in expected[1:30]:
            record(recorder, prompt(interception, text))
            assert await kept(recorder)
    for text in expected[30:]:
        record(recorder, prompt(interception, text))
        assert await kept(recorder)
    await events.reach("recovered", events.counts["spooled"])

    assert await kept(recorder)
    assert recorder.available
    assert prompts(database) == expected
    assert spools(database) == []
    assert events.counts["recovered"] == events.counts["spooled"] >= 29


async def test_database_is_used_again_without_new_facts(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    with locked(database):
        record(recorder, prompt(started()))
        assert await kept(recorder)

    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


async def test_outage_is_logged_at_its_start_and_end_only(
    start: Start, database: Path, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = start()
    with locked(database):
        for _ in range(5):
            record(recorder, prompt(started()))
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
    start: Start,
    database: Path,
    events: Events,
    caplog: pytest.LogCaptureFixture,
    exists: bool,
    how: str,
) -> None:
    if exists:
        start().close()
    with locked(database, how):
        recorder = start()
        assert not recorder.available
        record(recorder, prompt(started()))
        assert await kept(recorder)
        assert len(spools(database)) == 1
    assert "the database is unavailable, facts are spooled: database is locked" in caplog.text
    assert_no_error_is_logged(caplog)

    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


async def test_recorder_starts_with_a_full_disk(
    start: Start, database: Path, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    start().close()
    with no_space():
        recorder = start()
        record(recorder, prompt(started()))
        assert not await kept(recorder)
        assert not recorder.available
    assert_no_error_is_logged(caplog)

    while not recorder.available:
        assert await kept(recorder)

    assert prompts(database) == ["Hello"]


async def test_recorder_starts_and_spools_with_a_read_only_database_file(
    start: Start,
    database: Path,
    events: Events,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start().close()
    open_ = os.open
    denied = True

    def open_unless_denied(path: Any, *args: Any) -> int:
        if denied and path == database:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_(path, *args)

    monkeypatch.setattr(os, "open", open_unless_denied)
    recorder = start()
    record(recorder, prompt(started()))
    assert await kept(recorder)
    assert len(spools(database)) == 1
    assert "facts are spooled: [Errno 13] Permission denied" in caplog.text
    assert_no_error_is_logged(caplog)

    denied = False
    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


async def test_recorder_starts_with_a_database_that_sqlite_cannot_write(
    start: Start,
    database: Path,
    events: Events,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start().close()

    def read_only(db: Database) -> None:
        db.execute("PRAGMA query_only = 1")
        migrate(db)
        db.execute("CREATE TABLE x (a)")

    monkeypatch.setattr(database_file, "migrate", read_only)
    recorder = start()
    record(recorder, prompt(started()))
    assert await kept(recorder)
    assert not recorder.available
    assert_no_error_is_logged(caplog)


async def test_read_only_folder_without_a_database_is_refused(
    start: Start, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*args: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", deny)

    assert refused(start, database) == f"{database}: Read-only file system"


async def test_spool_is_ingested_at_the_next_start(start: Start, database: Path) -> None:
    with locked(database):
        recorder = start()
        record(recorder, *all_of_one(started()))
        recorder.close()
        assert len(spools(database)) == 1

    start()

    assert rows(database, "interceptions")[0]["status"] == "completed"
    assert prompts(database) == ["Hello"]
    assert spools(database) == []


async def test_database_is_used_again_after_the_spool_was_deleted(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    with locked(database):
        record(recorder, prompt(started(), "lost"))
        assert await kept(recorder)
        spools(database)[0].unlink()

    # The next fact is in the spool or, later, in the database.
    record(recorder, prompt(started(), "kept"))
    assert await kept(recorder)
    while not recorder.available:
        assert await kept(recorder)

    assert prompts(database) == ["kept"]


# The database is full, and the disk too


async def test_full_database_is_unavailable_until_there_is_space(
    start: Start, database: Path, events: Events, connections: list[sqlite3.Connection]
) -> None:
    recorder = start()
    (connection,) = connections
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    record(recorder, prompt(started(), "x" * 100_000))
    assert await kept(recorder)
    assert not recorder.available
    assert len(spools(database)) == 1

    connection.execute("PRAGMA max_page_count = 1000000")
    await events.reach("recovered", 1)

    assert prompts(database) == ["x" * 100_000]


async def test_facts_wait_in_memory_unconfirmed_without_database_and_spool(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    interception = started()

    with no_space():
        for number in range(5):
            record(recorder, prompt(interception, str(number)))
            assert not await kept(recorder)
        assert not recorder.available
    while not recorder.available:
        assert await kept(recorder)

    assert prompts(database) == ["0", "1", "2", "3", "4"]
    assert events.counts["lost"] == 0
    assert spools(database) == []


async def test_memory_is_bounded_and_the_oldest_statements_are_lost(
    start: Start,
    database: Path,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(record_writer, "MAX_IN_MEMORY", 3)
    recorder = start()
    interception = started()

    with no_space():
        for number in range(5):
            record(recorder, prompt(interception, str(number)))
            assert not await kept(recorder)
    while not recorder.available:
        assert await kept(recorder)

    assert events.counts["lost"] == 2
    assert "lost 1 statements: neither database nor spool is writable" in caplog.text
    assert prompts(database) == ["2", "3", "4"]


async def test_facts_lost_with_the_process_are_logged(
    start: Start, database: Path, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = start()
    with no_space():
        record(recorder, prompt(started()))
        assert not await kept(recorder)
        recorder.close()

    assert events.counts["lost"] == 1
    assert "lost 1 statements" in caplog.text


async def test_facts_in_memory_are_written_on_close(
    start: Start, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(path: Path, work: Iterable[Statement]) -> NoReturn:
        raise OSError("no spool here")

    monkeypatch.setattr(record_writer, "RETRY_SECONDS", (3600.0, 3600.0))
    monkeypatch.setattr(spool, "append", append)
    recorder = start()
    with locked(database):
        record(recorder, prompt(started()))
        assert not await kept(recorder)

    recorder.close()

    assert prompts(database) == ["Hello"]


# The database file is deleted or replaced


async def test_deleted_database_is_created_anew(start: Start, database: Path) -> None:
    recorder = start()
    record(recorder, prompt(started(), "old"))
    assert await kept(recorder)

    database.unlink()
    interception = started()
    record(recorder, prompt(interception, "new"), ended(interception))

    assert await kept(recorder)
    assert prompts(database) == ["new"]
    (row,) = rows(database, "interceptions")
    assert (row["id"], row["model"], row["status"]) == (
        interception.id,
        "claude-opus-4-5",
        "completed",
    )


async def test_facts_are_written_to_the_replaced_database(
    start: Start, database: Path, tmp_path: Path
) -> None:
    recorder = start()
    record(recorder, prompt(started(), "old"))
    assert await kept(recorder)
    other = tmp_path / "other.sqlite3"
    start(other).close()

    os.replace(other, database)
    record(recorder, prompt(started(), "new"))

    assert await kept(recorder)
    assert prompts(database) == ["new"]
    with looking(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


async def test_database_replaced_by_garbage_is_unavailable_until_that_is_deleted(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()

    database.unlink()
    database.write_text("This is no database." * 100)
    record(recorder, prompt(started()))
    assert await kept(recorder)
    assert not recorder.available
    database.unlink()
    await events.reach("recovered", 1)

    assert prompts(database) == ["Hello"]


# Statements that the database rejects


async def test_rejected_statements_go_to_a_file_and_all_others_are_committed(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    interception = started()
    rejected_facts: list[Fact] = [
        tokens(interception, input_tokens=2**63),
        started(initiator_id=None),
        prompt(interception, "half a \ud800 pair"),
    ]

    record(recorder, interception, prompt(interception), rejected_facts[0], thought(interception))
    record(recorder, rejected_facts[1], rejected_facts[2], ended(interception))

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


async def test_rejected_statement_in_a_spool_does_not_block_the_others(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    interception = started()
    with locked(database):
        record(recorder, prompt(interception, "1"), tokens(interception, output_tokens=2**64))
        assert await kept(recorder)
        record(recorder, prompt(interception, "2"))
        assert await kept(recorder)

    await events.reach("recovered", 3)

    assert prompts(database) == ["1", "2"]
    assert events.counts["rejected"] == 1


async def test_exception_in_the_writer_stops_neither_thread_nor_waiters(
    start: Start,
    database: Path,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = start()

    def fail(facts: list[Fact]) -> list[Statement]:
        if facts:
            raise RuntimeError("a bug")
        return []

    monkeypatch.setattr(preparation_module, "statements", fail)
    record(recorder, prompt(started(), "lost"))
    assert not await kept(recorder)
    monkeypatch.setattr(preparation_module, "statements", statements)
    record(recorder, prompt(started(), "kept"))

    assert await kept(recorder)
    assert prompts(database) == ["kept"]
    assert events.counts["lost"] == 1
    assert "the recorder failed" in caplog.text


# The start


def test_database_is_created_with_its_folder_and_private_permissions(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "deep" / "x.sqlite3"

    recorder = start(path)

    assert recorder.path == path
    for file in path.parent.iterdir():
        assert mode(file) == 0o600, file


def test_home_directory_in_the_path_is_expanded(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    start(Path("~/x.sqlite3"))

    assert (tmp_path / "x.sqlite3").exists()


def refused(start: Start, path: Path) -> str:
    """Return the message of a refused start."""
    with pytest.raises(RecorderError) as caught:
        start(path)
    return str(caught.value)


def test_file_that_is_not_a_database_is_refused_and_unchanged(start: Start, database: Path) -> None:
    database.write_text("Dear diary, " * 100)

    assert refused(start, database) == (
        f"{database} is not an aibridge database: file is not a database"
    )
    assert database.read_text().startswith("Dear diary")
    ownership = Ownership(database)
    ownership.acquire()
    ownership.release()
    assert ownership.alone


def test_directory_as_database_is_refused(start: Start, tmp_path: Path) -> None:
    assert refused(start, tmp_path) == f"{tmp_path}: Is a directory"


def test_path_that_cannot_be_created_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.sqlite3"

    assert refused(start, path).startswith(f"{path}: ")


def test_newer_schema_is_refused(start: Start, database: Path) -> None:
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


def test_status_values_match_the_contract() -> None:
    assert {*Status} == {"completed", "failed", "cancelled", "refused", "interrupted"}


OLD = "2020-01-01T00:00:00.000000+00:00"


async def test_retention_deletes_old_interceptions_with_all_their_rows(
    start: Start, database: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "STEP_ROWS", 2)
    recorder = start()
    old = [all_of_one(started(started_at=OLD)) for _ in range(5)]
    new = all_of_one(started())
    record(recorder, *(fact for facts in (*old, new) for fact in facts))
    await kept(recorder)
    recorder.close()
    start(retention=Retention(interceptions=30))
    await events.reach("forgotten", 5)
    with looking(database) as connection:
        for table in TABLES[:5]:
            key = "id" if table == "aibridge_interceptions" else "interception_id"
            ids = {row[0] for row in connection.execute(f"SELECT {key} FROM {table}")}
            assert ids == {new[0].id}, table


async def test_retention_does_not_delete_an_open_interception(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start(retention=Retention(interceptions=30))
    still_open, gone = started(started_at=OLD), started(started_at=OLD)
    record(recorder, still_open, gone, ended(gone))
    await kept(recorder)
    await events.reach("forgotten", 1)
    assert [row["id"] for row in rows(database, "interceptions")] == [still_open.id]


async def test_retention_deletes_hidden_turns_after_their_own_days(
    start: Start, database: Path, events: Events
) -> None:
    recorder = start()
    for key, created_at in (("old", OLD), ("new", now())):
        turns = HiddenTurns(scope="s", key=key, content="{}", created_at=created_at)
        recorder.record_hidden_turns(turns)
    await kept(recorder)
    recorder.close()
    later = start(retention=Retention(interceptions=30, hidden_turns=30))
    marker = started(started_at=OLD)
    record(later, marker, ended(marker))
    await events.reach("forgotten", 1)
    assert await later.find_hidden_turns("s", ["old", "new", "none"]) == {"new": "{}"}
    assert await later.find_hidden_turns("other", ["new"]) == {}


def background_response(interception: Interception, **changes: Any) -> BackgroundResponse:
    fact = BackgroundResponse(
        interception=interception,
        provider_response_id="resp_1",
        prompted=True,
        token_usage_id="u-1",
        created_at=now(),
    )
    return replace(fact, **changes)


async def test_background_response_stays_open_over_a_restart_until_its_end(
    start: Start, database: Path
) -> None:
    interception = started()
    fact = background_response(interception)
    recorder = start()
    record(recorder, interception, fact)
    assert await kept(recorder)
    recorder.close()

    later = start()

    assert rows(database, "interceptions")[0]["ended_at"] is None
    name = interception.provider_name
    assert await later.find_background_response(name, "resp_1") == fact
    assert await later.find_background_response(name, "resp_2") is None
    assert await later.find_background_response("another", "resp_1") is None
    record(later, ended(interception, in_background=True))
    assert await kept(later)
    assert rows(database, "interceptions")[0]["status"] == "completed"
    assert await later.find_background_response(name, "resp_1") is None


async def test_unpolled_background_response_is_interrupted_after_a_month(
    start: Start, database: Path
) -> None:
    recorder = start()
    new, old = started(), started()
    record(recorder, new, background_response(new))
    record(recorder, old, background_response(old, provider_response_id="r", created_at=OLD))
    assert await kept(recorder)
    while len(rows(database, "background_responses")) > 1:
        assert await kept(recorder)

    found = {
        row["id"]: (row["status"], row["error_type"]) for row in rows(database, "interceptions")
    }
    assert found == {new.id: (None, None), old.id: ("interrupted", "never_polled")}
