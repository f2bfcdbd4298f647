"""Records facts in a PostgreSQL database."""

from typing import Any

from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.budget_book import PostgresBudgetBook
from aibridge_addon.store.postgres.connection import errors_of
from aibridge_addon.store.postgres.pool import Pool
from aibridge_addon.store.postgres.writer import Writer
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.threaded_recorder import ThreadedRecorder


class PostgresRecorder(ThreadedRecorder):
    """Recorder of the PostgreSQL store."""

    def __init__(
        self,
        address: Address,
        *,
        on_event: OnEvent = lambda name, count: None,
        retention: Retention = Retention(),  # noqa: B008 it is frozen
        preparation: Preparation | None = None,
    ) -> None:
        self._address = address
        self._pool = Pool(address)
        budgets = PostgresBudgetBook()
        writer = Writer(address, on_event, retention, budgets)
        super().__init__(writer, budgets, on_event, preparation)

    def read(self, query: str, values: dict[str, str]) -> list[Any]:
        """Return the rows of a query, by a connection that readers share."""
        with errors_of(self._address), self._pool.reading() as reader:
            return reader.execute(query, values).fetchall()

    def close(self) -> None:
        """Write everything that is queued, and close all connections."""
        super().close()
        self._pool.close()
