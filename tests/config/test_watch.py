"""Detection of file changes; the tests poll by calling, not by the clock."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aibridge_addon.config import watch as watching
from aibridge_addon.config.watch import FileWatch

BOUND_S = 20.0


async def nothing() -> None:
    """Read no file."""


def watch_of(*files: Path) -> FileWatch:
    """Return a watch that has read the files."""
    watch = FileWatch(lambda: files, nothing)
    watch.note()
    return watch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a watched file."""
    path = tmp_path / "file"
    path.write_text("old")
    return path


def write_over(path: Path) -> None:
    path.write_text("longer")


def write_as_much(path: Path) -> None:
    # Timestamps of file systems are coarse: two writes of a test can have the same one.
    path.write_text("new")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("old")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)


def delete(path: Path) -> None:
    path.unlink()


def make_unreadable(path: Path) -> None:
    path.chmod(0)


def make_link(path: Path) -> None:
    """Replace a file by symbolic links as Kubernetes does with a mounted folder."""
    older, newer, link = (path.with_name(name) for name in ("1", "2", "link"))
    for folder in (older, newer):
        folder.mkdir()
        (folder / "file").write_text("same")
    path.unlink()
    link.symlink_to(older)
    path.symlink_to(link / "file")


@pytest.mark.parametrize("change", [write_over, write_as_much, replace, delete, make_unreadable])
def test_file_change_is_reported_once_after_two_equal_polls(
    file: Path, change: Callable[[Path], None]
) -> None:
    watch = watch_of(file)
    assert not watch.has_changed()
    change(file)
    assert not watch.has_changed(), "it may still be written"
    assert watch.has_changed()
    watch.note()
    assert not watch.has_changed()


def test_changed_symbolic_link_is_a_file_change(file: Path) -> None:
    make_link(file)
    watch = watch_of(file)
    link = file.with_name("link")
    link.unlink()
    link.symlink_to(file.with_name("2"))
    assert not watch.has_changed()
    assert watch.has_changed()


def test_file_under_writing_is_reported_when_it_is_complete(file: Path) -> None:
    watch = watch_of(file)
    for size in range(4, 10):
        file.write_text("x" * size)
        assert not watch.has_changed()
    assert watch.has_changed()


def test_new_file_is_a_file_change(tmp_path: Path) -> None:
    watch = watch_of(tmp_path / "file")
    assert not watch.has_changed()
    (tmp_path / "file").touch()
    assert [watch.has_changed(), watch.has_changed()] == [False, True]


def test_additional_watched_file_is_a_file_change(file: Path, tmp_path: Path) -> None:
    files = [file]
    watch = FileWatch(lambda: files, nothing)
    watch.note()
    files.append(tmp_path / "another")
    assert [watch.has_changed(), watch.has_changed()] == [False, True]


# As a task


class Reader:
    """Counts its calls by the watch; raises if `fails` is set."""

    def __init__(self, file: Path) -> None:
        self.reads = 0
        self.fails = False
        self.watch = FileWatch(lambda: [file], self)
        self.watch.note()
        self._read = asyncio.Event()

    async def __call__(self) -> None:
        self.reads += 1
        self._read.set()
        if self.fails:
            raise RuntimeError("a bug")

    async def next(self) -> None:
        """Wait for the next call."""
        async with asyncio.timeout(BOUND_S):
            await self._read.wait()
        self._read.clear()


@pytest.fixture
async def reader(file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    """Return a reader whose watch polls often."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.005)
    reader = Reader(file)
    reader.watch.start()
    yield reader
    reader.watch.stop()


async def test_consecutive_file_changes_are_read(reader: Reader, file: Path) -> None:
    for size in (10, 20):
        file.write_text("x" * size)
        await reader.next()
    assert reader.reads == 2


async def test_files_are_read_on_request_without_a_change(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "POLL_SECONDS", 1e6)
    reader.watch.ask()
    await reader.next()


async def test_failed_reading_is_logged_and_the_next_file_change_is_read(
    reader: Reader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader.fails = True
    file.write_text("longer")
    await reader.next()
    file.write_text("longer still")
    await reader.next()
    assert "internal error while reading changed files" in caplog.text
