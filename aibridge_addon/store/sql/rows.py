"""Executes a statement for several rows at once.

Each statement lets other threads take the interpreter, which costs more than its execution.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import batched, chain
from typing import Any

from aibridge_addon.store.connection import Connection

_MOST = 16
"""Rows of one statement; each number of rows is a statement of its own to prepare."""


def execute_rows(connection: Connection, sql: str, rows: Iterable[Sequence[Any]]) -> None:
    """Execute a statement in which `{rows}` stands for the rows of `VALUES`."""
    for some in batched(rows, _MOST, strict=False):
        connection.execute(_of_rows(sql, len(some), len(some[0])), tuple(chain(*some)))


@lru_cache
def _of_rows(sql: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return sql.replace("{rows}", ", ".join([row] * rows))
