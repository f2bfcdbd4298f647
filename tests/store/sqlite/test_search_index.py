"""Texts and index of the full-text search, and the numbers of ends, across migrations."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlite_utils import Database
from store.doubles import all_of_one, ended, prompt, started, thought, tool

from aibridge_addon.facts import Fact
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.search_texts import MAX_CHARACTERS
from aibridge_addon.store.sql.sweeper import Sweeper
from aibridge_addon.store.sqlite import search_index, vacuum
from aibridge_addon.store.sqlite.schema import migrate, migrations
from aibridge_addon.store.sqlite.search_index import Indexer
from aibridge_addon.store.sqlite.writer import execute
from aibridge_addon.store.statements import statements


@pytest.fixture
def empty() -> Iterator[Database]:
    database = Database(memory=True)
    database.conn.isolation_level = None  # as the recorder's connection
    yield database
    database.close()


@pytest.fixture
def db(empty: Database) -> Database:
    migrate(empty)
    return empty


def write(db: Database, *facts: Fact) -> None:
    with db.atomic():
        for statement in statements(facts):
            execute(db.conn, statement)
        Indexer().index(db.conn)


def found(db: Database, match: str) -> list[str]:
    rows = db.execute("SELECT text FROM aibridge_search WHERE aibridge_search MATCH ?", [match])
    return [text for (text,) in rows]


def test_prompts_thoughts_and_arguments_are_indexed(db: Database) -> None:
    one = started()
    call = tool(one, tool="Write", input={"path": "/x", "text": "first\nsecond é", "n": [3, None]})
    write(db, one, prompt(one, "What is a monad?"), thought(one, "Burritos."), call)

    assert found(db, "monad") == ["What is a monad?"]
    assert found(db, "burritos") == ["Burritos."]
    assert found(db, "second") == found(db, "e") == ["Write\n/x\nfirst\nsecond é\n3"]


def test_arguments_that_are_no_json_object_are_indexed_as_they_are(db: Database) -> None:
    one = started()
    write(db, one, tool(one, input="just words"), tool(one, input=None))

    assert found(db, "read") == ["Read\njust words", "Read\n"]


def test_text_is_indexed_once_and_only_at_its_beginning(db: Database) -> None:
    one = started()
    long = prompt(one, "x " * MAX_CHARACTERS + "end")
    write(db, one, long, long)
    write(db, long)

    (text,) = found(db, "x")
    assert len(text) == MAX_CHARACTERS
    assert found(db, "end") == []


def test_rows_of_an_older_database_are_indexed_by_the_migration(empty: Database) -> None:
    db = empty
    migrations.apply(db, stop_before="m012_search")
    one, two = started(), started()
    for statement in statements([*all_of_one(one), two]):
        columns = {column.name for column in db.table(_table(statement.kind)).columns}
        values = {k: v for k, v in statement.values.items() if k in columns}
        db.table(_table(statement.kind)).insert(values)

    migrate(db)

    assert found(db, "hello") == ["Hello"]
    assert [row["interception_id"] for row in db.table("aibridge_endings").rows] == [one.id]


def _table(kind: str) -> str:
    return f"aibridge_{kind.removesuffix('_ended')}s"


def test_retention_deletes_texts_and_numbers_of_ends(db: Database) -> None:
    old = (datetime.now(UTC) - timedelta(days=9)).isoformat(timespec="microseconds")
    for interception in (started(started_at=old), started()):
        write(db, *all_of_one(interception))

    Sweeper(Retention(interceptions=3), lambda number: None, vacuum.free_some).step(db.conn)

    assert len(found(db, "hello")) == 1
    assert db.table("aibridge_search_texts").count == 3
    assert db.table("aibridge_endings").count == 1
    db.execute("INSERT INTO aibridge_search(aibridge_search) VALUES ('integrity-check')")


def test_ends_are_numbered_once_in_the_order_of_commits(db: Database) -> None:
    one, two = started(), started()
    write(db, one, two)
    write(db, ended(two))
    write(db, ended(one))
    write(db, ended(two, ended_at="2099"))

    numbered = [row["interception_id"] for row in db.table("aibridge_endings").rows]
    assert numbered == [two.id, one.id]


def test_broken_index_costs_no_record_and_is_reported_once(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("DROP TABLE aibridge_search")
    indexer, one = Indexer(), started()
    for fact in (one, prompt(one, "kept")):
        with db.atomic():
            for statement in statements([fact]):
                execute(db.conn, statement)
            indexer.index(db.conn)

    assert [row["text"] for row in db.table("aibridge_search_texts").rows] == ["kept"]
    assert len(caplog.messages) == 1


def test_texts_that_were_left_out_are_indexed_by_a_later_commit(db: Database) -> None:
    one = started()
    for statement in statements([one, prompt(one, "left out")]):
        execute(db.conn, statement)
    assert found(db, "left") == []

    write(db, started())

    assert found(db, "left") == ["left out"]


def test_deleted_text_that_was_not_indexed_leaves_the_index_intact(db: Database) -> None:
    one = started()
    write(db, one, prompt(one, "indexed"))
    for statement in statements([one, prompt(one, "not indexed")]):
        execute(db.conn, statement)

    db.execute("DELETE FROM aibridge_search_texts")

    db.execute("INSERT INTO aibridge_search(aibridge_search) VALUES ('integrity-check')")
    assert found(db, "indexed") == []


def test_without_fts5_records_are_written_and_a_later_index_has_them(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = started()
    with monkeypatch.context() as patched:
        patched.setattr(search_index, "has_fts5", lambda connection: False)
        migrate(db)
        write(db, one, prompt(one, "written meanwhile"))
        assert not search_index.is_indexed(db.conn)

    migrate(db)

    assert search_index.is_indexed(db.conn)
    assert found(db, "meanwhile") == ["written meanwhile"]
