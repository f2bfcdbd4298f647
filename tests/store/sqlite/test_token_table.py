"""The table of access tokens: never deleted, readable while a recorder writes."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store.doubles import started

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "aibridge.sqlite3"


def add_tokens(database: Path, *names: str, **limits: Any) -> list[AccessToken]:
    tokens = [AccessToken.make(name, **limits)[1] for name in names]
    for token in tokens:
        open_store(database).add_access_token(token)
    return tokens


def test_access_tokens_are_read_as_they_were_added(database: Path) -> None:
    added = add_tokens(
        database, "alice", "bob", providers=("anthropic",), models=("claude-*", "gpt-5")
    )

    assert list(open_store(database).access_tokens().values()) == added


def test_admin_flag_of_an_access_token_is_kept(database: Path) -> None:
    add_tokens(database, "alice", admin=True)
    add_tokens(database, "bob")

    flags = {t.initiator_id: t.admin for t in open_store(database).access_tokens().values()}
    assert flags == {"alice": True, "bob": False}


def test_access_tokens_of_an_older_database_are_read_as_no_admins(database: Path) -> None:
    (token,) = add_tokens(database, "alice", admin=True)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE aibridge_tokens DROP COLUMN admin")

    assert open_store(database).access_tokens() == {token.id: replace(token, admin=False)}


def test_database_of_the_first_access_token_is_private(database: Path) -> None:
    add_tokens(database, "alice")

    assert database.stat().st_mode & 0o077 == 0


def test_missing_database_has_no_access_tokens_and_is_not_created(database: Path) -> None:
    assert open_store(database).access_tokens() == {}
    assert not database.exists()


def test_database_without_the_token_table_has_no_access_tokens(database: Path) -> None:
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE aibridge_interceptions (id TEXT)")

    assert open_store(database).access_tokens() == {}


def test_access_tokens_are_revoked_by_id_or_by_actor(database: Path) -> None:
    first, second, bob = add_tokens(database, "alice", "alice", "bob")

    assert [token.id for token in open_store(database).revoke_access_tokens(first.id)] == [first.id]
    assert [token.id for token in open_store(database).revoke_access_tokens("alice")] == [second.id]
    assert open_store(database).revoke_access_tokens("alice") == []
    states = {
        token.id: token.revoked_at is None
        for token in open_store(database).access_tokens().values()
    }
    assert states == {first.id: False, second.id: False, bob.id: True}


def test_file_that_is_not_a_database_is_named_in_the_error(database: Path) -> None:
    database.parent.mkdir()
    database.write_text("something else " * 100)

    for use in (
        lambda path: open_store(path).access_tokens(),
        lambda path: add_tokens(path, "alice"),
        lambda path: open_store(path).revoke_access_tokens(""),
    ):
        with pytest.raises(StoreError, match=r"aibridge\.sqlite3: file is not a database"):
            use(database)


async def test_access_tokens_are_added_while_a_recorder_writes(database: Path) -> None:
    recorder = SQLiteRecorder(database)
    recorder.start()
    try:
        recorder.record_interception(started())
        assert await recorder.kept()
        [token] = add_tokens(database, "alice")
        assert open_store(database).access_tokens() == {token.id: token}
        recorder.record_interception(started())
        assert await recorder.kept()
    finally:
        recorder.close()
