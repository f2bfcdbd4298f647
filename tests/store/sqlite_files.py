"""SQLite files for tests of reports."""

from contextlib import closing
from functools import cache
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.facts import Fact
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.sqlite.search_index import Indexer
from aibridge_addon.store.sqlite.writer import execute
from aibridge_addon.store.statements import statements


def empty_database(folder: Path) -> Path:
    """Return the path of a new database without records."""
    made = folder / "some.sqlite3"
    made.write_bytes(_empty())
    return made


@cache
def _empty() -> bytes:
    with closing(Database(memory=True)) as db:
        migrate(db)
        return db.conn.serialize()


def write(path: Path, *facts: Fact) -> None:
    """Commit facts in one transaction."""
    with closing(Database(path)) as db, db.atomic():
        for statement in statements(facts):
            execute(db.conn, statement)
        Indexer().index(db.conn)
