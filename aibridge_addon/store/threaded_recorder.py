"""Records facts in a database: a thread commits everything that is queued in one transaction.

Recording appends to a queue. `kept` wakes the thread; all waiters of one commit share the next. The
start of an interception wakes nothing: it is written at the latest after `LINGER_SECONDS`.
"""

import asyncio
import contextlib
import json
import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from aibridge_addon.budgets.book import BookUnavailableError
from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    ProcessSeen,
    RateLimitsSeen,
    RequestContent,
    ResponseContent,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    TunnelEnded,
    UserPrompt,
)
from aibridge_addon.store.loop_calls import LoopCalls
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import OnEvent
from aibridge_addon.store.record_writer import UNAVAILABLE, RecordWriter
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.sql.budget_book import SQLBudgetBook, Work
from aibridge_addon.store.sql.writes import (
    FIND_BACKGROUND_RESPONSE,
    FIND_END,
    FIND_HIDDEN_TURNS,
    FIND_USAGES,
)
from aibridge_addon.store.statements import read_background_response

logger = logging.getLogger(__name__)

_LARGE_BYTES = 1024 * 1024
"""Content above this size is written after the end of its response has been sent."""
LINGER_SECONDS = 0.25
"""Longest time that a fact stays queued when nobody waits for it."""


class _Waiter:
    """Queue entry of a caller that waits until everything before it is stored."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()


class _Task:
    """Queue entry of work in a transaction of its own, after everything before it."""

    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Work) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.work = work


class ThreadedRecorder(Recorder):
    """Recorder of a built-in store; `read` executes a lookup of a subclass on any thread."""

    def __init__(
        self,
        writer: RecordWriter[Any],
        budgets: SQLBudgetBook,
        on_event: OnEvent,
        preparation: Preparation | None,
    ) -> None:
        self._writer = writer
        self._budgets = budgets
        budgets.run = self._run_in_transaction
        self._on_event = on_event
        self._preparation = preparation or Preparation()
        self._queue: deque[Fact | HiddenTurns | _Waiter | _Task] = deque()
        self._wake = threading.Lock()  # released to wake the thread: cheaper than an Event
        self._wake.acquire()
        self._closing = False
        self._is_waking = False
        self._thread = threading.Thread(target=self._run, name="aibridge recorder", daemon=True)

    @abstractmethod
    def read(self, query: str, values: dict[str, str]) -> list[Any]:
        """Return the rows of a query."""

    def start(self) -> None:
        """Open and migrate the database, recover from earlier processes, start the thread."""
        try:
            self._writer.start()
        except BaseException:
            self._writer.close()
            raise
        self._thread.start()

    def record_interception(self, fact: Interception) -> None:
        """Record the start of an interception."""
        self._queue.append(fact)

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        """Record the end of an interception."""
        self._queue.append(fact)

    def record_background_response(self, fact: BackgroundResponse) -> None:
        """Record a background response."""
        self._queue.append(fact)

    def record_token_usage(self, fact: TokenUsage) -> None:
        """Record the tokens of a model call."""
        self._queue.append(fact)

    def record_token_usage_so_far(self, fact: TokenUsageSoFar) -> None:
        """Record the usage that a stream reported before its end."""
        self._queue.append(fact)

    def record_prompt_usage(self, fact: UserPrompt) -> None:
        """Record a prompt."""
        self._queue.append(fact)

    def record_tool_usage(self, fact: ToolUsage) -> None:
        """Record a tool call."""
        self._queue.append(fact)

    def record_model_thought(self, fact: ModelThought) -> None:
        """Record a thought."""
        self._queue.append(fact)

    def record_rate_limits(self, fact: RateLimitsSeen) -> None:
        """Record the rate limits that a response stated."""
        self._queue.append(fact)

    def record_process(self, fact: ProcessSeen) -> None:
        """Record a sign of life of a proxy process."""
        self._queue.append(fact)

    def record_request_content(self, fact: RequestContent) -> None:
        """Record the body of an upstream request."""
        self._queue.append(fact)

    def record_response_content(self, fact: ResponseContent) -> None:
        """Record the body of an upstream response."""
        self._queue.append(fact)

    def record_tunnel(self, fact: TunnelEnded) -> None:
        """Record a tunnel."""
        self._queue.append(fact)

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Store turns of the inner loop."""
        self._queue.append(turns)

    async def find_hidden_turns(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        """Read hidden turns, on another thread."""
        return await asyncio.to_thread(self._find_hidden_turns, scope, list(keys))

    def _find_hidden_turns(self, scope: str, keys: list[str]) -> dict[str, str]:
        return dict(self.read(FIND_HIDDEN_TURNS, {"scope": scope, "keys": json.dumps(keys)}))

    async def find_background_response(
        self, provider_name: str, response_id: str
    ) -> BackgroundResponse | None:
        """Read a background response, on another thread."""
        values = {"provider_name": provider_name, "response_id": response_id}
        return await asyncio.to_thread(self._find_background_response, values)

    def _find_background_response(self, values: dict[str, str]) -> BackgroundResponse | None:
        rows = self.read(FIND_BACKGROUND_RESPONSE, values)
        if not rows:
            return None
        fact = read_background_response(rows[0][0])
        of_it = {"interception_id": fact.interception.id}
        usages = frozenset(str(id_) for (id_,) in self.read(FIND_USAGES, of_it))
        return replace(fact, usages=usages, has_ended=bool(self.read(FIND_END, of_it)))

    def kept(self) -> Awaitable[bool]:
        """Wait until everything recorded so far is in the database or in the spool."""
        waiter = _Waiter()
        self._enqueue(waiter)
        return waiter.future

    def budget_book(self) -> SQLBudgetBook:
        """Return the budget book, which works on the recorder's thread."""
        return self._budgets

    def _run_in_transaction(self, work: Work) -> Awaitable[Any]:
        task = _Task(work)
        self._enqueue(task)
        return task.future

    def _enqueue(self, entry: _Waiter | _Task) -> None:
        self._queue.append(entry)
        if not self._is_waking:  # a single wake-up for all waiters of this turn of the loop
            self._is_waking = True
            entry.loop.call_soon(self._wake_writer)

    def _wake_writer(self) -> None:
        self._is_waking = False
        self._unlock()

    def _unlock(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake already
            self._wake.release()

    @property
    def available(self) -> bool:
        """True if the last write reached the database."""
        return self._writer.available

    def close(self) -> None:
        """Write everything that is queued, and stop the thread."""
        self._closing = True
        self._unlock()
        if self._thread.ident is not None:
            self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        self._preparation.warm_up()
        while True:
            self._wake.acquire(timeout=LINGER_SECONDS)
            closing = self._closing
            self._write_queue()
            if closing:
                return

    def _write_queue(self) -> None:
        entries = [self._queue.popleft() for _ in range(len(self._queue))]
        large: list[Fact | HiddenTurns] = []
        if not entries:
            self._write([])  # what was spooled may have a database again
        for batch, tasks in _batches(entries):
            large += self._write_batch(batch, tasks)
        for fact in large:  # nobody waits for them: to read one takes long
            self._write([fact])
        self._writer.tidy()

    def _write_batch(
        self, entries: list[Fact | HiddenTurns | _Waiter], tasks: list[_Task]
    ) -> list[Fact | HiddenTurns]:
        """Write facts, then work; resolve who waits; return the large facts, which are left out."""
        facts = [entry for entry in entries if not isinstance(entry, _Waiter)]
        small = [fact for fact in facts if not _is_large(fact)]
        kept, results = self._write(small, [task.work for task in tasks])
        calls = self._preparation.calls
        _settle([entry for entry in entries if isinstance(entry, _Waiter)], kept, calls)
        _resolve(tasks, results, calls)
        calls.send()
        return [fact for fact in facts if _is_large(fact)]

    def _write(
        self, facts: list[Fact | HiddenTurns], works: Sequence[Work] = ()
    ) -> tuple[bool, list[Any] | None]:
        """Write facts, and execute works after them.

        Returns:
            True if the facts survive a crash, and the results of the works, if they are committed.
        """
        try:
            if self._writer.may_have_lost():
                self._preparation.forget()
            statements = self._preparation.statements(facts)
            kept, results = self._writer.write_and_execute(statements, works)
            self._preparation.written(send=False)
        except Exception:
            logger.exception("aibridge: the recorder failed; some facts are lost")
            self._preparation.forget()
            self._on_event("lost", len(facts))
            return False, None
        return kept, results


def _batches(
    entries: Iterable[Fact | HiddenTurns | _Waiter | _Task],
) -> Iterator[tuple[list[Fact | HiddenTurns | _Waiter], list[_Task]]]:
    """Yield what is written at once: facts, and the work that follows them.

    In order: a budget must hold a call before the end of the call settles it.
    """
    facts: list[Fact | HiddenTurns | _Waiter] = []
    tasks: list[_Task] = []
    for entry in entries:
        if isinstance(entry, _Task):
            tasks.append(entry)
            continue
        if tasks:
            yield facts, tasks
            facts, tasks = [], []
        facts.append(entry)
    if facts or tasks:
        yield facts, tasks


def _resolve(tasks: list[_Task], results: list[Any] | None, calls: LoopCalls) -> None:
    """Resolve who waits for work."""
    for task, result in zip(tasks, results or [UNAVAILABLE] * len(tasks), strict=True):
        calls.add(task.loop, partial(_set_result, task.future, result))


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(BookUnavailableError(str(result)))
    else:
        future.set_result(result)


def _is_large(fact: Fact | HiddenTurns) -> bool:
    return isinstance(fact, RequestContent | ResponseContent) and len(fact.body) > _LARGE_BYTES


def _settle(waiters: list[_Waiter], kept: bool, calls: LoopCalls) -> None:
    """Resolve the waiters."""
    for waiter in waiters:
        calls.add(waiter.loop, partial(_set_result, waiter.future, kept))
