"""A worker as its supervisor sees it: a process that is started, asked and ended."""

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable
from typing import Self

from prometheus_client import Metric as Family

from aibridge_addon.cli.workers.messages import (
    QUESTION,
    Assignment,
    Message,
    Report,
    read_message,
)
from aibridge_addon.observe.aggregation import read_exposition
from aibridge_addon.observe.announcement import RunningProxy

logger = logging.getLogger(__name__)

ANSWER_S = 4.0
"""Seconds that a worker has to report its state."""
KILL_S = 15.0
"""Seconds after its grace in which a worker must have ended."""
_LONGEST_LINE = 64 * 1024 * 1024
_COMMAND = (sys.executable, "-P", "-m", "aibridge_addon.cli.workers.child")


class Worker:
    """A running worker process."""

    def __init__(
        self,
        number: int,
        process: asyncio.subprocess.Process,
        *,
        grace_s: float,
        on_change: Callable[[RunningProxy], None],
    ) -> None:
        self.number = number
        self.is_ending = False
        """True once it was asked to end."""
        self.up: asyncio.Future[RunningProxy | None] = asyncio.get_running_loop().create_future()
        """Its description once it accepts connections; None if it ended before that."""
        self.families: list[Family] = []
        """Its metrics, as reported last."""
        self.report: Report | None = None
        self._process = process
        self._grace_s = grace_s
        self._on_change = on_change
        self._asked: deque[asyncio.Future[Report]] = deque()
        self.ended = asyncio.ensure_future(self._read())
        """Done when the process has ended; the result is its exit code."""

    @classmethod
    async def start(
        cls, number: int, assignment: Assignment, on_change: Callable[[RunningProxy], None]
    ) -> Self:
        """Start a worker process, which inherits the listening sockets."""
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(*assignment.descriptors.values(), assignment.counts),
            start_new_session=True,  # Ctrl-C reaches the supervisor only
            limit=_LONGEST_LINE,
        )
        worker = cls(
            number,
            process,
            grace_s=assignment.plan.grace_s + assignment.plan.drain_s,
            on_change=on_change,
        )
        worker._write(assignment.as_line())
        return worker

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """True while it accepts connections."""
        has_started = self.up.done() and not self.up.cancelled() and self.up.result() is not None
        return has_started and not self.is_ending and not self.ended.done()

    async def ask(self) -> Report | None:
        """Return its state now; None if it does not report in time, or ends."""
        if self.is_ending or self.ended.done():
            return None
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._write(QUESTION)
        try:
            return await asyncio.wait_for(answer, ANSWER_S)
        except (TimeoutError, asyncio.CancelledError):
            return None

    async def end(self) -> None:
        """Let its open requests complete, and wait until it has ended."""
        self.is_ending = True
        if self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self.ended), self._grace_s + KILL_S)
        except TimeoutError:
            logger.error("aibridge: worker %d does not end; it is killed", self.number)
            self.kill()
            await self.ended

    def end_at_once(self) -> None:
        """End without waiting for open requests."""
        self.is_ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the process in the middle of whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.write(line)

    async def _read(self) -> int:
        """Read its messages until it ends."""
        assert self._process.stdout
        with contextlib.suppress(ValueError):  # a line that is too long
            while line := await self._process.stdout.readline():
                self._note(line)
        code = await self._process.wait()
        if not self.up.done():
            self.up.set_result(None)
        for answer in self._asked:
            answer.cancel()
        return code

    def _note(self, line: bytes) -> None:
        try:
            message = read_message(line)
        except (ValueError, TypeError, KeyError):
            logger.warning("aibridge: worker %d sent a line that is not a message", self.number)
            return
        self._take(message)

    def _take(self, message: Message) -> None:
        if message.up and not self.up.done():
            self.up.set_result(message.up)
        if message.changed:
            self._on_change(message.changed)
        if message.report:
            self.report = message.report
            self.families = read_exposition(message.report.metrics)
            while self._asked:
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(message.report)
                    break
