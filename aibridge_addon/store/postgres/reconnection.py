"""Connects on a thread of its own, so that records need not wait until a server answers or not."""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread

from aibridge_addon.store.postgres.connection import PostgresConnection


class Reconnection:
    """An attempt to connect."""

    def __init__(self, connect: Callable[[], PostgresConnection]) -> None:
        self._connect = connect
        self._future: Future[PostgresConnection] = Future()
        Thread(target=self._run, name="aibridge reconnection", daemon=True).start()

    def _run(self) -> None:
        try:
            self._future.set_result(self._connect())
        except BaseException as error:  # noqa: BLE001 `result` raises it
            self._future.set_exception(error)

    @property
    def is_done(self) -> bool:
        """True if `result` does not wait."""
        return self._future.done()

    def result(self) -> PostgresConnection:
        """Return the connection, or raise the error of connecting."""
        return self._future.result()

    def abandon(self) -> None:
        """Close the connection once it is there."""
        self._future.add_done_callback(_close)


def _close(done: Future[PostgresConnection]) -> None:
    with contextlib.suppress(Exception):
        done.result().close()
