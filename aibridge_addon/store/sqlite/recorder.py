"""Records facts in a SQLite file."""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.sql.budget_book import SQLBudgetBook
from aibridge_addon.store.sqlite.database_file import BUSY_SECONDS
from aibridge_addon.store.sqlite.writer import Writer
from aibridge_addon.store.threaded_recorder import ThreadedRecorder


class SQLiteRecorder(ThreadedRecorder):
    """Recorder of the SQLite store."""

    def __init__(
        self,
        path: Path,
        *,
        on_event: OnEvent = lambda name, count: None,
        retention: Retention = Retention(),  # noqa: B008 it is frozen
        preparation: Preparation | None = None,
    ) -> None:
        self.path = path.expanduser().absolute()
        budgets = SQLBudgetBook(promise_clock=time.monotonic)  # they are on one machine
        writer = Writer(self.path, on_event, retention, budgets)
        super().__init__(writer, budgets, on_event, preparation)

    def read(self, query: str, values: dict[str, str]) -> list[Any]:
        """Return the rows of a query, by a connection of its own."""
        uri = f"{self.path.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as reader:
            return reader.execute(query, values).fetchall()
