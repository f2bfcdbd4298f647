"""Tables of the full-text search: the searchable texts, and an FTS5 index over them.

Triggers copy prompts, thoughts and tool arguments into the texts, and keep the index in step. An
SQLite without FTS5 writes and deletes texts only; the next with FTS5 rebuilds the index.
"""

import sqlite3

from sqlite_utils import Database

from aibridge_addon.store.search_texts import MAX_CHARACTERS

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

_TRIGGERS = {
    "aibridge_search_added": "AFTER INSERT ON aibridge_search_texts BEGIN"
    " INSERT INTO aibridge_search(rowid, text) VALUES (new.id, new.text); END",
    "aibridge_search_deleted": "AFTER DELETE ON aibridge_search_texts BEGIN"
    " INSERT INTO aibridge_search(aibridge_search, rowid, text)"
    " VALUES ('delete', old.id, old.text); END",
}
_INDEX = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS aibridge_search USING fts5(text,"
    " content = 'aibridge_search_texts', content_rowid = 'id',"
    " tokenize = 'unicode61 remove_diacritics 2')",
    *(f"CREATE TRIGGER IF NOT EXISTS {name} {text}" for name, text in _TRIGGERS.items()),
    "INSERT INTO aibridge_search(aibridge_search) VALUES ('rebuild')",
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
    drops = [f"DROP TRIGGER IF EXISTS {name}" for name in _TRIGGERS]
    with db.atomic():
        for statement in _INDEX if supported else drops:
            db.execute(statement)


def has_fts5(connection: sqlite3.Connection) -> bool:
    """Return whether this SQLite has FTS5."""
    rows = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchall()
    return bool(rows)


def is_indexed(connection: sqlite3.Connection) -> bool:
    """Return whether the index exists and is kept in step."""
    (number,) = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name IN (?, ?)", [*_TRIGGERS]
    ).fetchone()
    return bool(number == len(_TRIGGERS))
