"""The records, read back from the database as dicts; its JSON columns are decoded."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

type Row = dict[str, Any]

TABLES = ("interceptions", "token_usages", "user_prompts", "tool_usages", "model_thoughts")

_JSON_COLUMNS = frozenset({"metadata", "extra", "raw", "input"})


@dataclass(slots=True)
class Records:
    """Rows of every table, oldest first."""

    interceptions: list[Row] = field(default_factory=list)
    token_usages: list[Row] = field(default_factory=list)
    user_prompts: list[Row] = field(default_factory=list)
    tool_usages: list[Row] = field(default_factory=list)
    model_thoughts: list[Row] = field(default_factory=list)

    @property
    def interception(self) -> Row:
        """The only interception."""
        assert len(self.interceptions) == 1, self.interceptions
        return self.interceptions[0]

    @property
    def usage(self) -> Row:
        """The only token usage."""
        assert len(self.token_usages) == 1, self.token_usages
        return self.token_usages[0]

    @property
    def prompts(self) -> list[str]:
        """The texts of the prompts."""
        return [row["prompt"] for row in self.user_prompts]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Input, output, cache read, cache write of the only token usage."""
        row = self.usage
        return (
            row["input_tokens"],
            row["output_tokens"],
            row["cache_read_input_tokens"],
            row["cache_write_input_tokens"],
        )


def read_records(database: Path, after: str = "") -> Records:
    """Read all rows whose ids sort after one."""
    if not database.exists():
        return Records()
    with closing(_connect(database)) as connection:
        # One transaction: the tables as they were at one moment.
        connection.execute("begin")
        return Records(*(_read_table(connection, name, after) for name in TABLES))


def latest_id(database: Path) -> str:
    """Return the id that sorts last."""
    if not database.exists():
        return ""
    with closing(_connect(database)) as connection:
        queries = (f"select max(id) from aibridge_{name}" for name in TABLES)
        return max(connection.execute(query).fetchone()[0] or "" for query in queries)


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def _read_table(connection: sqlite3.Connection, name: str, after: str) -> list[Row]:
    query = f"select * from aibridge_{name} where id > ? order by id"
    return [_decoded(dict(row)) for row in connection.execute(query, (after,))]


def _decoded(row: Row) -> Row:
    return {
        name: json.loads(value) if name in _JSON_COLUMNS and value is not None else value
        for name, value in row.items()
    }


type Condition = Callable[[Records], object]
