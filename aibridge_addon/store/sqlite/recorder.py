"""Keeps facts in SQLite: one thread writes, and commits whatever has gathered in one transaction.

Recording is an append to a queue. `kept` wakes the writer; all who wait during one commit share the
next. The start of an interception wakes nobody: it is written with what comes next, at the latest
after `LINGER` seconds.

When the database is away (locked, full, read-only, replaced), statements go to the spool in order,
and back from it, once, when it has returned; if not even the spool can be written, they wait in
memory, bounded, and `kept` says False.
"""

import asyncio
import contextlib
import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Awaitable, Collection, Mapping
from pathlib import Path
from typing import Any

from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    UserPrompt,
)
from aibridge_addon.store.protocol import OnEvent, Retention
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.sqlite.database_file import BUSY_SECONDS
from aibridge_addon.store.sqlite.sql import FIND_BACKGROUND_RESPONSE, FIND_HIDDEN_TURNS
from aibridge_addon.store.sqlite.writer import Writer
from aibridge_addon.store.statements import read_background_response, statements

logger = logging.getLogger(__name__)

LINGER = 0.25
"""Seconds that a fact nobody waits for may stay unwritten."""


class _Mark:
    """Somebody waits until everything before this is kept."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()


class SQLiteRecorder(Recorder):
    """The default recorder."""

    def __init__(
        self,
        path: Path,
        *,
        on_event: OnEvent = lambda name, count: None,
        retention: Retention = Retention(),  # noqa: B008 it is frozen
    ) -> None:
        self.path = path.expanduser().absolute()
        self._on_event = on_event
        self._queue: deque[Fact | HiddenTurns | _Mark] = deque()
        self._wake = threading.Lock()  # as a bell: cheaper than an Event
        self._wake.acquire()
        self._closing = False
        self._is_waking = False
        self._thread = threading.Thread(target=self._run, name="aibridge recorder", daemon=True)
        self._writer = Writer(self.path, on_event, retention)

    def start(self) -> None:
        """Open and migrate the database, take in what an earlier process left, start to write."""
        try:
            self._writer.start()
        except BaseException:
            self._writer.close()
            raise
        self._thread.start()

    def record_interception(self, fact: Interception) -> None:
        """Keep the start of an interception."""
        self._queue.append(fact)

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        """Keep the end of an interception."""
        self._queue.append(fact)

    def record_background_response(self, fact: BackgroundResponse) -> None:
        """Keep what is needed to end an interception by a later poll."""
        self._queue.append(fact)

    def record_token_usage(self, fact: TokenUsage) -> None:
        """Keep what a response cost."""
        self._queue.append(fact)

    def record_token_usage_so_far(self, fact: TokenUsageSoFar) -> None:
        """Keep what a running stream told of its cost."""
        self._queue.append(fact)

    def record_prompt_usage(self, fact: UserPrompt) -> None:
        """Keep what the person said."""
        self._queue.append(fact)

    def record_tool_usage(self, fact: ToolUsage) -> None:
        """Keep a tool call."""
        self._queue.append(fact)

    def record_model_thought(self, fact: ModelThought) -> None:
        """Keep a thought."""
        self._queue.append(fact)

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Keep turns that a client did not see."""
        self._queue.append(turns)

    async def find_hidden_turns(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        """Look hidden turns up, on a thread of their own."""
        return await asyncio.to_thread(self._find_hidden_turns, scope, list(keys))

    def _find_hidden_turns(self, scope: str, keys: list[str]) -> dict[str, str]:
        return dict(self._read(FIND_HIDDEN_TURNS, {"scope": scope, "keys": json.dumps(keys)}))

    async def find_background_response(
        self, provider_name: str, response_id: str
    ) -> BackgroundResponse | None:
        """Look a response up, on a thread of its own."""
        values = {"provider_name": provider_name, "response_id": response_id}
        rows = await asyncio.to_thread(self._read, FIND_BACKGROUND_RESPONSE, values)
        return read_background_response(rows[0][0]) if rows else None

    def _read(self, query: str, values: dict[str, str]) -> list[Any]:
        uri = f"{self.path.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as reader:
            return reader.execute(query, values).fetchall()

    def kept(self) -> Awaitable[bool]:
        """Wait for the commit, or the spool, of all that was recorded before."""
        mark = _Mark()
        self._queue.append(mark)
        if not self._is_waking:  # one wake for all that end in this turn of the loop
            self._is_waking = True
            mark.loop.call_soon(self._wake_writer)
        return mark.future

    def _wake_writer(self) -> None:
        self._is_waking = False
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has been rung
            self._wake.release()

    @property
    def available(self) -> bool:
        """Whether the last write reached the database."""
        return self._writer.available

    def close(self) -> None:
        """Write what is left, and end."""
        self._closing = True
        self._ring()
        if self._thread.ident is not None:
            self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        while True:
            self._wake.acquire(timeout=LINGER)
            closing = self._closing
            self._write_queue()
            if closing:
                return

    def _write_queue(self) -> None:
        entries = [self._queue.popleft() for _ in range(len(self._queue))]
        facts = [entry for entry in entries if not isinstance(entry, _Mark)]
        kept = False
        try:
            kept = self._writer.write(statements(facts))
        except Exception:
            logger.exception("aibridge: the recorder failed; some facts are lost")
            self._on_event("lost", len(facts))
        _settle([entry for entry in entries if isinstance(entry, _Mark)], kept)
        self._writer.tidy()


def _settle(marks: list[_Mark], kept: bool) -> None:
    """Wake those who wait, each loop once."""
    for loop in {mark.loop for mark in marks}:
        futures = [mark.future for mark in marks if mark.loop is loop]
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(_set_results, futures, kept)


def _set_results(futures: list[asyncio.Future[bool]], kept: bool) -> None:
    for future in futures:
        if not future.done():
            future.set_result(kept)
