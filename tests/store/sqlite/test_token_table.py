"""The table of tokens: kept beside the records, never deleted, readable while somebody writes."""

import sqlite3
from contextlib import closing

import pytest
from store.doubles import started

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder


@pytest.fixture
def database(tmp_path):
    return tmp_path / "folder" / "aibridge.sqlite3"


def make(database, *names, **scope):
    tokens = [AccessToken.make(name, **scope)[1] for name in names]
    for token in tokens:
        open_store(database).add_access_token(token)
    return tokens


def test_tokens_come_back_as_they_were_made(database):
    made = make(database, "alice", "bob", providers=("anthropic",), models=("claude-*", "gpt-5"))

    assert list(open_store(database).access_tokens().values()) == made


def test_the_database_is_made_for_its_owner_alone(database):
    make(database, "alice")

    assert database.stat().st_mode & 0o077 == 0


def test_where_there_is_no_database_there_are_no_tokens(database):
    assert open_store(database).access_tokens() == {}
    assert not database.exists()


def test_a_database_of_before_tokens_has_none(database):
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE aibridge_interceptions (id TEXT)")

    assert open_store(database).access_tokens() == {}


def test_a_token_is_revoked_by_its_id_or_with_all_of_its_actor(database):
    first, second, bob = make(database, "alice", "alice", "bob")

    assert [token.id for token in open_store(database).revoke_access_tokens(first.id)] == [first.id]
    assert [token.id for token in open_store(database).revoke_access_tokens("alice")] == [second.id]
    assert open_store(database).revoke_access_tokens("alice") == []
    states = {
        token.id: token.revoked_at is None
        for token in open_store(database).access_tokens().values()
    }
    assert states == {first.id: False, second.id: False, bob.id: True}


def test_what_is_no_database_is_named(database):
    database.parent.mkdir()
    database.write_text("something else " * 100)

    for use in (
        lambda path: open_store(path).access_tokens(),
        lambda path: make(path, "alice"),
        lambda path: open_store(path).revoke_access_tokens(""),
    ):
        with pytest.raises(StoreError, match=r"aibridge\.sqlite3: file is not a database"):
            use(database)


async def test_tokens_are_made_while_a_recorder_writes(database):
    recorder = SQLiteRecorder(database)
    recorder.start()
    try:
        recorder.record_interception(started())
        assert await recorder.kept()
        [token] = make(database, "alice")
        assert open_store(database).access_tokens() == {token.id: token}
        recorder.record_interception(started())
        assert await recorder.kept()
    finally:
        recorder.close()
