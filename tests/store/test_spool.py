"""The spool's files: what is appended is read again, and what is broken harms nothing else."""

import errno
import os

import pytest
from store.doubles import prompt, started, tokens

from aibridge_addon.store import spool as spool_module
from aibridge_addon.store.spool import Spool, read
from aibridge_addon.store.statements import Statement, statements

WORK = statements([prompt(started(), "ü\n\u2028\ud800"), tokens(started())])


@pytest.fixture
def database(tmp_path):
    return tmp_path / "a.sqlite3"


def test_statements_are_read_as_they_were_appended(database):
    spool = Spool(database)
    assert spool.is_empty

    for work in (WORK, WORK[::-1]):
        spool.append(work)

    assert not spool.is_empty
    assert list(spool.read()) == [*WORK, *WORK[::-1]]
    assert list(spool.read()) == [*WORK, *WORK[::-1]]


def test_spool_of_an_older_version_is_read_with_null_in_columns_added_since(database):
    (statement,) = statements([started()])
    added = {"request_kind", "prompt_id", "agent_id"}
    old = {name: value for name, value in statement.values.items() if name not in added}
    spool = Spool(database)

    spool.append([Statement(statement.kind, old)])

    assert list(spool.read()) == [Statement(statement.kind, old | dict.fromkeys(added))]


def test_a_cleared_spool_leaves_no_file(database):
    spool = Spool(database)
    spool.append(WORK)

    spool.clear()

    assert spool.is_empty
    assert list(spool.read()) == []
    assert list(database.parent.iterdir()) == []
    spool.clear()


def test_a_spool_is_a_file_beside_the_database_only_when_it_is_needed(database):
    spool = Spool(database)

    assert list(database.parent.iterdir()) == []
    spool.append(WORK)
    assert list(database.parent.glob("a.sqlite3.spool-*.jsonl")) == [spool.path]


def test_a_write_that_fails_half_way_may_have_left_something(database, monkeypatch):
    spool = Spool(database)
    write = os.write

    def write_a_little(descriptor, data):
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:-30])

    monkeypatch.setattr(spool_module.os, "write", write_a_little)
    with pytest.raises(OSError, match="No space left"):
        spool.append(WORK)
    monkeypatch.undo()

    assert not spool.is_empty
    assert list(spool.read()) == WORK[:1]


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[]",
        b"1",
        b'"x"',
        b"{}",
        b'{"statement": "user_prompt"}',
        b'{"statement": "drop_table", "values": {}}',
        b'{"statement": [], "values": {}}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_statement_is_left_out(database, line, caplog):
    spool = Spool(database)
    spool.append(WORK)
    with spool.path.open("ab") as file:
        file.write(line + b"\n")
    spool.append(WORK)

    assert list(spool.read()) == [*WORK, *WORK]
    assert str(spool.path) in caplog.text


def test_a_missing_spool_is_empty(tmp_path):
    assert list(read(tmp_path / "missing")) == []


@pytest.mark.parametrize("name", ["a.sqlite3", "a[1].sqlite3", "a*?.sqlite3"])
def test_spools_of_other_processes_with_this_database_are_found_by_age(tmp_path, name):
    database = tmp_path / name
    first, second, own, later = (Spool(database) for _ in range(4))
    other = Spool(tmp_path / "a1.sqlite3")
    for spool in (later, own, second, first, other):
        spool.append([Statement("user_prompt", {})])

    assert own.others(older=True) == [first.path, second.path]
    assert own.others(older=False) == [first.path, second.path, later.path]
