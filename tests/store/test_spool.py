"""Spool files: order of statements, broken lines, and spools of other processes."""

import errno
import os
from pathlib import Path

import pytest
from store.doubles import prompt, started, tokens

from aibridge_addon.store.spool import Spool, read
from aibridge_addon.store.statements import Statement, statements

WORK = statements([prompt(started(), "ü\n\u2028\ud800"), tokens(started())])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite3"


def test_spool_returns_statements_in_the_order_of_appending(database: Path) -> None:
    spool = Spool(database)
    assert spool.is_empty

    for work in (WORK, WORK[::-1]):
        spool.append(work)

    assert not spool.is_empty
    assert list(spool.read()) == [*WORK, *WORK[::-1]]
    assert list(spool.read()) == [*WORK, *WORK[::-1]]


def test_spool_of_an_older_version_gets_null_in_columns_added_since(database: Path) -> None:
    (statement,) = statements([started()])
    added = {"request_kind", "prompt_id", "agent_id", "access_token_id"}
    old = {name: value for name, value in statement.values.items() if name not in added}
    spool = Spool(database)

    spool.append([Statement(statement.kind, old)])

    assert list(spool.read()) == [Statement(statement.kind, old | dict.fromkeys(added))]


def test_cleared_spool_leaves_no_file(database: Path) -> None:
    spool = Spool(database)
    spool.append(WORK)

    spool.clear()

    assert spool.is_empty
    assert list(spool.read()) == []
    assert list(database.parent.iterdir()) == []
    spool.clear()


def test_spool_file_is_created_beside_the_database_on_first_use(database: Path) -> None:
    spool = Spool(database)

    assert list(database.parent.iterdir()) == []
    spool.append(WORK)
    assert list(database.parent.glob("a.sqlite3.spool-*.jsonl")) == [spool.path]


def test_spool_is_not_empty_after_a_write_that_failed_half_way(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(database)
    write = os.write

    def write_a_little(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:-30])

    monkeypatch.setattr(os, "write", write_a_little)
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
def test_spool_line_that_is_not_a_statement_is_skipped(
    database: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(database)
    spool.append(WORK)
    with spool.path.open("ab") as file:
        file.write(line + b"\n")
    spool.append(WORK)

    assert list(spool.read()) == [*WORK, *WORK]
    assert str(spool.path) in caplog.text


def test_missing_spool_is_empty(tmp_path: Path) -> None:
    assert list(read(tmp_path / "missing")) == []


@pytest.mark.parametrize("name", ["a.sqlite3", "a[1].sqlite3", "a*?.sqlite3"])
def test_spools_of_other_processes_are_found_by_age(tmp_path: Path, name: str) -> None:
    database = tmp_path / name
    first, second, own, later = (Spool(database) for _ in range(4))
    other = Spool(tmp_path / "a1.sqlite3")
    for spool in (later, own, second, first, other):
        spool.append([Statement("user_prompt", {})])

    assert own.others(older=True) == [first.path, second.path]
    assert own.others(older=False) == [first.path, second.path, later.path]
