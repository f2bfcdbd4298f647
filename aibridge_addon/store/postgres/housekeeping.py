"""Executes housekeeping on a thread and a connection of its own, so that no record waits for it."""

import contextlib
import logging
import threading
from collections.abc import Callable

from aibridge_addon.store.postgres.connection import PostgresConnection
from aibridge_addon.store.postgres.deadline import deadline
from aibridge_addon.store.postgres.errors import UNAVAILABLE
from aibridge_addon.store.postgres.sweeper import Sweeper
from aibridge_addon.store.sql import sweeper as steps

_STEP_SECONDS = 60.0
"""Longest time that a step may take."""
_CLOSE_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Housekeeping:
    """Rounds of steps, one after the other."""

    def __init__(self, connect: Callable[[], PostgresConnection], sweeper: Sweeper) -> None:
        self._connect = connect
        self._sweeper = sweeper
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start_if_due(self) -> None:
        """Start a round, unless it is too early or another is running."""
        if (self._thread is None or not self._thread.is_alive()) and self._sweeper.is_due:
            self._thread = threading.Thread(
                target=self._run, name="aibridge housekeeping", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End the round after its current step."""
        self._is_closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._connect()) as connection:
                while self._sweeper.is_due and not self._is_closing.is_set():
                    with deadline(connection, _STEP_SECONDS):
                        self._sweeper.step(connection)
                    self._is_closing.wait(steps.STEP_SECONDS)
        except UNAVAILABLE as error:
            logger.debug("aibridge: housekeeping failed: %s", type(error).__name__)
            self._sweeper.pause()
        except Exception:
            logger.exception("aibridge: internal error in housekeeping")
            self._sweeper.pause()
