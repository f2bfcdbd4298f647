"""Locks that show whether a process is alone with its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aibridge_addon.store.sqlite.ownership import Ownership


@contextmanager
def held(database: Path) -> Iterator[Ownership]:
    ownership = Ownership(database)
    ownership.acquire()
    ownership.share()
    try:
        yield ownership
    finally:
        ownership.release()


def test_only_the_first_process_is_alone(tmp_path: Path) -> None:
    database = tmp_path / "x.sqlite3"

    with held(database) as first, held(database) as second, held(database) as third:
        assert [first.alone, second.alone, third.alone] == [True, False, False]


def test_process_is_alone_after_all_others_released_their_locks(tmp_path: Path) -> None:
    database = tmp_path / "x.sqlite3"
    with held(database) as first, held(database):
        first.release()
        with held(database) as third:
            assert not third.alone

    with held(database) as next_one:
        assert next_one.alone


def test_databases_do_not_share_a_lock(tmp_path: Path) -> None:
    with held(tmp_path / "x") as one, held(tmp_path / "y") as other:
        assert one.alone
        assert other.alone


def test_lock_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    ownership = Ownership(tmp_path / "missing" / "x.sqlite3")

    with pytest.raises(FileNotFoundError):
        ownership.acquire()
    ownership.share()
    ownership.release()
    assert not ownership.alone
