"""Tables of the full-text search: the searchable texts, and an FTS5 index over them.

Triggers copy prompts, thoughts and tool arguments into the texts; each commit indexes those that it
added. An SQLite without FTS5 writes and deletes texts only; the next with FTS5 rebuilds the index.
"""

import logging
import sqlite3

from sqlite_utils import Database

from aibridge_addon.store.search_texts import MAX_CHARACTERS

logger = logging.getLogger(__name__)

_ARGUMENTS = """{row}.tool || char(10) || coalesce(
    CASE WHEN json_valid({row}.input) THEN (
        SELECT group_concat(atom, char(10)) FROM json_tree({row}.input) WHERE atom IS NOT NULL
    ) ELSE {row}.input END, '')"""
_SOURCES = (
    ("aibridge_user_prompts", "prompt", "{row}.prompt"),
    ("aibridge_model_thoughts", "thought", "{row}.content"),
    ("aibridge_tool_usages", "arguments", _ARGUMENTS),
)
"""Tables whose rows have a text: table, kind of the text, and SQL of the text."""

_LAST = "(SELECT coalesce(max(id), 0) FROM aibridge_search_docsize)"
_TRIGGER = "aibridge_search_deleted"
_INDEX = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS aibridge_search USING fts5(text,"
    " content = 'aibridge_search_texts', content_rowid = 'id',"
    " tokenize = 'unicode61 remove_diacritics 2')",
    f"CREATE TRIGGER IF NOT EXISTS {_TRIGGER} AFTER DELETE ON aibridge_search_texts"  # noqa: S608
    f" WHEN old.id <= {_LAST} BEGIN INSERT INTO aibridge_search(aibridge_search, rowid, text)"
    " VALUES ('delete', old.id, old.text); END",
    "INSERT INTO aibridge_search(aibridge_search) VALUES ('rebuild')",
)
_ADD_NEW = (
    "INSERT INTO aibridge_search(rowid, text) SELECT id, text FROM aibridge_search_texts"  # noqa: S608
    f" WHERE id > {_LAST} ORDER BY id LIMIT 5000"
)


def create_texts(db: Database) -> None:
    """Create the table of texts, its triggers, and the texts of the rows that exist."""
    db.execute(
        "CREATE TABLE aibridge_search_texts (id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE,"
        " interception_id TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL)"
    )
    db.execute(
        "CREATE INDEX idx_aibridge_search_texts_interception_id"
        " ON aibridge_search_texts (interception_id)"
    )
    # Only text of this module goes into the SQL.
    for table, kind, text in _SOURCES:
        db.execute(
            f"CREATE TRIGGER aibridge_search_{kind} AFTER INSERT ON {table}"
            f" BEGIN {_insert(kind, text, 'new')}; END"
        )
        db.execute(f"{_insert(kind, text, 'r')} FROM {table} r ORDER BY r.id")


def _insert(kind: str, text: str, row: str) -> str:
    return (
        "INSERT OR IGNORE INTO aibridge_search_texts (source, interception_id, kind, text)"
        f" SELECT {row}.id, {row}.interception_id, '{kind}',"
        f" substr({text.format(row=row)}, 1, {MAX_CHARACTERS})"
    )


def prepare(db: Database) -> None:
    """Create the index if it is missing; without FTS5, drop the triggers that would need it."""
    supported, indexed = has_fts5(db.conn), is_indexed(db.conn)
    if supported == indexed:
        return
    with db.atomic():
        for statement in _INDEX if supported else (f"DROP TRIGGER IF EXISTS {_TRIGGER}",):
            db.execute(statement)


class Indexer:
    """Adds new texts to the index at the end of each commit.

    A trigger would be ten times slower: FTS5 writes its buffer at the end of each trigger. An index
    that cannot be written must not cost records.
    """

    def __init__(self) -> None:
        self._is_broken = False

    def index(self, connection: sqlite3.Connection) -> None:
        """Index the texts that the transaction has added, and any that were left out before."""
        if self._is_broken:
            return
        try:
            connection.execute(_ADD_NEW)
        except sqlite3.DatabaseError as error:
            self._is_broken = True
            logger.warning("aibridge: texts are not indexed until the next start: %s", error)


def has_fts5(connection: sqlite3.Connection) -> bool:
    """Return True if this SQLite has FTS5."""
    rows = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchall()
    return bool(rows)


def is_indexed(connection: sqlite3.Connection) -> bool:
    """Return True if the index exists, and deletions are removed from it."""
    rows = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [_TRIGGER]).fetchall()
    return bool(rows)
