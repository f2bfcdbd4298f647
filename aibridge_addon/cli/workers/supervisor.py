"""The supervisor: binds the ports, starts the workers, replaces those that die, ends them all."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import click

from aibridge_addon.cli.listening_ports import listen
from aibridge_addon.cli.plan import METRICS_OPTION, Plan
from aibridge_addon.cli.startup_message import StartupReporter
from aibridge_addon.cli.workers.endpoint import Endpoint
from aibridge_addon.cli.workers.messages import Assignment
from aibridge_addon.cli.workers.process import Worker
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.relay.connection_counts import ConnectionCounts, shared_counts

logger = logging.getLogger(__name__)

QUEUE = 1024
"""Connections that wait in the kernel until a worker accepts them."""
_SOON_S = 5.0
"""A worker that ends sooner is replaced after a delay, which doubles."""
_LONGEST_DELAY_S = 30.0
_SLOTS_PER_WORKER = 3
"""A worker, the one that replaces it, and others that still end."""
_TURN_S = 30.0
"""Longest time that a start keeps others waiting."""


def supervise(
    plan: Plan, reporter: StartupReporter, *, count: int, log_format: str, verbose: bool
) -> None:
    """Run worker processes until a signal ends them.

    Raises:
        ClickException: a port cannot be used, or the workers cannot start.
    """
    with ExitStack() as stack:
        listeners = {
            address: stack.enter_context(closing(_listen(*address)))
            for address in map(_address, plan.modes)
        }
        counts = stack.enter_context(shared_counts(_SLOTS_PER_WORKER * count))
        assignment = Assignment(
            plan=replace(plan, flags={**plan.flags, METRICS_OPTION: ""}),
            descriptors={address: listener.fileno() for address, listener in listeners.items()},
            counts=counts.fileno(),
            log_format=log_format,
            verbose=verbose,
        )
        supervisor = Supervisor(assignment, count, reporter, tuple(listeners.values()))
        asyncio.run(supervisor.run(_metrics_address(plan)))


class Supervisor:
    """Keeps a number of workers running."""

    def __init__(
        self,
        assignment: Assignment,
        count: int,
        reporter: StartupReporter,
        listeners: Iterable[socket.socket] = (),
    ) -> None:
        self._assignment = assignment
        self._listeners = listeners
        self._counts = ConnectionCounts(assignment.counts)
        self._count = count
        self._reporter = reporter
        self._workers: dict[int, Worker] = {}
        self._leaving: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._turns = asyncio.Semaphore(os.process_cpu_count() or 1)
        self._is_replacing = False
        self._metrics_url: str | None = None
        self._endpoint: Endpoint

    async def run(self, metrics_address: tuple[str, int] | None) -> None:
        """Start the workers, and keep them running until a signal comes.

        Raises:
            ClickException: the first worker cannot start; its log states the reason.
        """
        self._endpoint = Endpoint(lambda: self._all_workers, self._is_ready)
        self._metrics_url = self._endpoint.start(metrics_address)
        self._handle_signals()
        try:
            # The first alone: it may have to create the CA and the database.
            first = await self._start(1)
            if (proxy := await first.up) is None:
                if self._stopping.is_set():
                    return
                raise click.ClickException("the workers cannot start; the log says why")
            self._spawn(self._keep(first))
            self._reporter.started(self._described(proxy))
            await asyncio.gather(*(self._start_kept(n) for n in range(2, self._count + 1)))
            if not self._stopping.is_set():
                logger.info("aibridge: all %d workers are up", self._count)
            await self._stopping.wait()
        finally:
            await self._end()

    @property
    def _all_workers(self) -> set[Worker]:
        """The workers and those that leave. A worker is both while its replacement starts."""
        return {*self._workers.values(), *self._leaving}

    def _is_ready(self) -> bool:
        is_any_up = any(worker.is_up for worker in self._workers.values())
        return is_any_up and not self._stopping.is_set()

    def _described(self, proxy: RunningProxy) -> RunningProxy:
        """Return the description of a worker as the one of all."""
        return replace(proxy, pid=os.getpid(), metrics_url=self._metrics_url)

    async def _start(self, number: int) -> Worker:
        slot = self._counts.take_slot()
        worker = await Worker.start(
            number,
            replace(self._assignment, slot=slot),
            lambda proxy: self._reporter.changed(self._described(proxy)),
        )
        worker.ended.add_done_callback(lambda _: self._counts.free(slot))
        self._workers[number] = worker
        return worker

    async def _start_in_turn(self, number: int) -> Worker | None:
        """Start a worker when few others start; None if the workers are to end.

        A start takes a second of a processor core, which requests to the other workers need.
        """
        async with self._turns:
            if self._stopping.is_set():
                return None
            worker = await self._start(number)
            await asyncio.wait([worker.up], timeout=_TURN_S)
            return worker

    async def _start_kept(self, number: int) -> None:
        if worker := await self._start_in_turn(number):
            self._spawn(self._keep(worker))

    async def _keep(self, worker: Worker) -> None:
        """Replace a worker that ends unasked, again and again."""
        await worker.ask()
        loop = asyncio.get_running_loop()
        delay = 0.0
        while True:
            begun = loop.time()
            code = await worker.ended
            if worker.is_ending or worker in self._leaving or self._stopping.is_set():
                return
            self._endpoint.note_exit(worker)
            delay = 0.0 if loop.time() - begun > _SOON_S else min(delay * 2 or 1, _LONGEST_DELAY_S)
            logger.error(
                "aibridge: worker %d (process %d) ended with code %d; it is replaced",
                *(worker.number, worker.pid, code),
            )
            await asyncio.sleep(delay)
            if (replacement := await self._start_in_turn(worker.number)) is None:
                return
            worker = replacement

    async def _replace_all(self) -> None:
        """Start a new worker in place of each, and then end the old one."""
        if self._is_replacing or self._stopping.is_set():
            return
        self._is_replacing = True
        try:
            for old in [worker for _, worker in sorted(self._workers.items())]:
                if self._stopping.is_set() or not await self._replace(old):
                    return
            logger.info("aibridge: all workers are replaced")
        finally:
            self._is_replacing = False

    async def _replace(self, old: Worker) -> bool:
        """Replace a worker that goes on until the new one is up; return False if it cannot start.

        The old worker counts as leaving from the beginning: its metrics must not be missing from
        the sums meanwhile, and if it dies now, the new one is its replacement.
        """
        self._leaving.add(old)
        new = await self._start(old.number)
        if await new.up is not None:
            self._spawn(self._keep(new))
            self._spawn(self._leave(old))
            return True
        self._leaving.discard(old)
        self._workers[old.number] = old
        logger.error(
            "aibridge: the new worker %d cannot start; the old one keeps running", old.number
        )
        if old.ended.done():
            self._spawn(self._keep(old))
        return False

    async def _leave(self, worker: Worker) -> None:
        await worker.end()
        self._endpoint.note_end(worker)
        self._leaving.discard(worker)

    async def _end(self) -> None:
        self._stopping.set()
        self._reporter.ended()
        for listener in self._listeners:  # else clients would connect when no worker listens
            listener.close()
        await asyncio.gather(*(worker.end() for worker in self._all_workers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._endpoint.close()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._replace_all()))

    def _stop(self) -> None:
        """Begin the shutdown; a second call ends open requests at once."""
        if self._stopping.is_set():
            for worker in self._all_workers:
                worker.end_at_once()
        self._stopping.set()
        for worker in self._workers.values():
            if not worker.up.done():  # a start that is no longer wanted
                worker.end_at_once()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _address(mode: str) -> tuple[str, int]:
    host, _, port = mode.rpartition("@")[2].rpartition(":")
    return host, int(port)


def _listen(host: str, port: int) -> socket.socket:
    listener = listen(host, port, "--port")
    listener.listen(QUEUE)
    return listener


def _metrics_address(plan: Plan) -> tuple[str, int] | None:
    options: Mapping[str, str] = {**plan.defaults, **plan.flags}
    host, _, port = options.get(METRICS_OPTION, "").rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None
