"""Who is alone with a database at its start."""

from contextlib import contextmanager

import pytest

from aibridge_addon.store.sqlite.ownership import Ownership


@contextmanager
def held(database):
    ownership = Ownership(database)
    ownership.acquire()
    ownership.share()
    try:
        yield ownership
    finally:
        ownership.release()


def test_the_first_is_alone_and_who_comes_meanwhile_is_not(tmp_path):
    database = tmp_path / "x.sqlite3"

    with held(database) as first, held(database) as second, held(database) as third:
        assert [first.alone, second.alone, third.alone] == [True, False, False]


def test_after_all_have_let_go_the_next_is_alone(tmp_path):
    database = tmp_path / "x.sqlite3"
    with held(database) as first, held(database):
        first.release()
        with held(database) as third:
            assert not third.alone

    with held(database) as next_one:
        assert next_one.alone


def test_databases_do_not_share_a_lock(tmp_path):
    with held(tmp_path / "x") as one, held(tmp_path / "y") as other:
        assert one.alone
        assert other.alone


def test_a_lock_that_cannot_be_made_is_an_error_and_nothing_needs_to_be_let_go(tmp_path):
    ownership = Ownership(tmp_path / "missing" / "x.sqlite3")

    with pytest.raises(FileNotFoundError):
        ownership.acquire()
    ownership.share()
    ownership.release()
    assert not ownership.alone
