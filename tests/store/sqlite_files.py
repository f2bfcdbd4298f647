"""SQLite files for tests of reports."""

from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.facts import Fact
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.sqlite.sql import SQL
from aibridge_addon.store.statements import statements


def empty_database(folder: Path) -> Path:
    """Return the path of a new database without records."""
    made = folder / "some.sqlite3"
    with closing(Database(made)) as db:
        migrate(db)
    return made


def write(path: Path, *facts: Fact) -> None:
    """Commit facts in one transaction."""
    with closing(Database(path)) as db, db.atomic():
        for kind, values in statements(facts):
            db.execute(SQL[kind], values)
