"""The database file is changed behind the recorder's back: that is noticed, and nothing is lost."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store import doubles
from store.doubles import looking, prompt, prompts, rows, started

from aibridge_addon.store import record_writer, threaded_recorder
from aibridge_addon.store.sqlite import database_file
from aibridge_addon.store.sqlite.database_file import DatabaseFile
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder

BOUND = 30


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(record_writer, "RETRY_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(threaded_recorder, "LINGER_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "aibridge.sqlite3"


@pytest.fixture
def recorder(path: Path) -> Iterator[SQLiteRecorder]:
    made = SQLiteRecorder(path)
    made.start()
    yield made
    made.close()


async def record(recorder: SQLiteRecorder, text: str) -> bool:
    """Record a prompt; return True if it is stored."""
    doubles.record(recorder, prompt(started(), text))
    return await asyncio.wait_for(recorder.kept(), BOUND)


async def until_available(recorder: SQLiteRecorder) -> None:
    while not recorder.available:
        await asyncio.wait_for(recorder.kept(), BOUND)


def spools(path: Path) -> list[Path]:
    return list(path.parent.glob("*.spool-*.jsonl"))


def write_in_place(path: Path, content: bytes) -> None:
    """Overwrite a file as `cp` does: it stays the same file.

    The file is never empty meanwhile, since a recorder would take that for a new database.
    """
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def other_database(tmp_path: Path) -> bytes:
    other = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE somebody_elses (x)")
    return other.read_bytes()


GARBAGE = {
    "text": b"This is no database." * 1000,
    "zeros": bytes(100_000),
    "a head that is cut": b"SQLite form",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_facts_are_spooled_while_the_database_is_overwritten(
    recorder: SQLiteRecorder, path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert await record(recorder, "before")

    write_in_place(path, garbage)
    assert await record(recorder, "during")

    assert not recorder.available
    assert path.read_bytes() == garbage
    assert len(spools(path)) == 1
    assert "was overwritten while in use" in caplog.text
    path.unlink()
    await until_available(recorder)
    assert prompts(path) == ["during"]
    assert spools(path) == []


async def test_overwritten_database_is_detected_without_new_facts(
    recorder: SQLiteRecorder, path: Path
) -> None:
    assert await record(recorder, "before")

    write_in_place(path, GARBAGE["text"])

    async with asyncio.timeout(BOUND):
        while recorder.available:
            await recorder.kept()


async def test_restored_backup_gets_the_spooled_facts(recorder: SQLiteRecorder, path: Path) -> None:
    assert await record(recorder, "before")
    backup = path.with_name("backup.sqlite3")
    with looking(path) as connection:
        connection.execute("VACUUM INTO ?", [str(backup)])

    write_in_place(path, GARBAGE["text"])
    assert await record(recorder, "during")
    write_in_place(path, backup.read_bytes())
    await until_available(recorder)

    assert prompts(path) == ["before", "during"]
    with looking(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


async def test_truncated_database_is_created_anew_and_logged(
    recorder: SQLiteRecorder, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await record(recorder, "before")

    write_in_place(path, b"")
    assert await record(recorder, "after")
    await until_available(recorder)

    assert prompts(path) == ["after"]
    assert "was overwritten while in use" in caplog.text


async def test_other_database_copied_into_the_file_is_detected(
    recorder: SQLiteRecorder, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await record(recorder, "before")

    write_in_place(path, other_database(tmp_path))
    assert await record(recorder, "after")
    await until_available(recorder)

    assert "was overwritten while in use" in caplog.text
    assert prompts(path) == ["after"]
    with looking(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert "somebody_elses" in tables


@pytest.mark.parametrize("how", ["deleted", "replaced", "folder deleted"])
async def test_recording_continues_after_the_database_was_deleted_or_replaced(
    recorder: SQLiteRecorder, path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    assert await record(recorder, "before")

    match how:
        case "deleted":
            path.unlink()
        case "replaced":
            new = path.with_name("new")
            with closing(sqlite3.connect(new)) as connection:
                connection.execute("CREATE TABLE x (y)")
            os.replace(new, path)
        case "folder deleted":
            aside = path.parent.with_name("aside")  # at once: the recorder may look at any time
            path.parent.rename(aside)
            shutil.rmtree(aside)
    assert await record(recorder, "after")
    await until_available(recorder)

    assert prompts(path) == ["after"]
    assert "was deleted or replaced while in use" in caplog.text


def test_log_that_is_moved_after_the_file_was_looked_at_is_not_called_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data" / "file"
    database = DatabaseFile(path)
    database.connect().execute("CREATE TABLE x (y)")
    look = DatabaseFile._change

    def look_and_move(self: DatabaseFile) -> str | None:
        found = look(self)
        if path.parent.exists():
            path.parent.rename(tmp_path / "aside")
        return found

    monkeypatch.setattr(DatabaseFile, "_change", look_and_move)
    database.connect()
    database.connect()
    assert "was deleted or replaced while in use" in caplog.text
    assert "the log of" not in caplog.text
    monkeypatch.undo()
    database.close()


async def test_no_row_is_lost_when_the_log_is_deleted(
    recorder: SQLiteRecorder, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await record(recorder, "before")

    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    assert await record(recorder, "after")
    await until_available(recorder)

    assert prompts(path) == ["before", "after"]
    assert "log of the database" in caplog.text


async def test_vacuum_and_checkpoints_of_other_programs_are_not_taken_for_changes(
    recorder: SQLiteRecorder, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        assert await record(recorder, str(number))
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BOUND)) as program:
            program.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            program.execute("VACUUM")
            program.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    await until_available(recorder)
    assert prompts(path) == ["0", "1", "2", "3", "4"]
    assert "while in use" not in caplog.text


def test_closing_does_not_write_to_an_overwritten_file(path: Path) -> None:
    database = DatabaseFile(path)
    database.connect()
    write_in_place(path, GARBAGE["text"])

    database.close()

    assert path.read_bytes() == GARBAGE["text"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_prompts_recorded_after_the_change_are_in_the_new_file(
    recorder: SQLiteRecorder, path: Path
) -> None:
    interception = started()
    doubles.record(recorder, interception)
    assert await record(recorder, "before")

    write_in_place(path, GARBAGE["text"])
    assert await record(recorder, "during")
    path.unlink()
    await until_available(recorder)
    assert await record(recorder, "after")

    assert prompts(path) == ["during", "after"]
    assert rows(path, "interceptions") == []
