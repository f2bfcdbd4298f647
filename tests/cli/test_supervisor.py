"""The supervisor starts a few workers at a time, so that they do not take all of a machine."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest

from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.startup_message import StartupReporter
from aibridge_addon.cli.workers import supervisor
from aibridge_addon.cli.workers.messages import Assignment
from aibridge_addon.cli.workers.process import Worker
from aibridge_addon.relay.connection_counts import shared_counts
from cli.test_worker_messages import PROXY

CORES = 2
WORKERS = 8
BOUND_S = 30.0


class StartingWorker(Worker):
    """A worker without a process, which comes up or ends when a test says so."""

    started: list["StartingWorker"]
    may_start: asyncio.Event
    """Set unless a test holds the start of a process up."""

    def __init__(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.is_ending = False
        self.up = loop.create_future()
        self._has_died = asyncio.Event()
        self.ended = loop.create_task(self._exit_code())
        self.families = []
        self.report = None
        self.started.append(self)

    @classmethod
    async def start(cls, number: int, *_: Any) -> "StartingWorker":
        """Start one."""
        await cls.may_start.wait()
        return cls(number)

    @property
    def pid(self) -> int:
        return self.number

    async def ask(self) -> None:
        pass

    async def end(self) -> None:
        self.end_at_once()

    def end_at_once(self) -> None:
        self.is_ending = True
        self.die()

    def die(self) -> None:
        """End."""
        if not self.up.done():
            self.up.set_result(None)
        self._has_died.set()

    async def _exit_code(self) -> int:
        await self._has_died.wait()
        return -9


class Reporter:
    """Notes the reports that the proxy is up."""

    def __init__(self) -> None:
        self.reports: list[object] = []

    def started(self, proxy: object) -> None:
        """Note it."""
        self.reports.append(proxy)

    def ended(self) -> None:
        """Do nothing."""


class Machine:
    """A running supervisor, and its workers."""

    def __init__(self, counts: int) -> None:
        self.reporter = Reporter()
        plan = Plan(modes=(), sets=(), flags={}, drain_s=0.0)
        assignment = Assignment(
            plan=plan, descriptors={}, counts=counts, log_format="text", verbose=False
        )
        self.supervisor = supervisor.Supervisor(
            assignment, WORKERS, cast(StartupReporter, self.reporter)
        )
        self.running = asyncio.create_task(self.supervisor.run(None))

    async def starting(self) -> list[StartingWorker]:
        """Return the workers that are starting, once no more start."""
        for _ in range(50):
            await asyncio.sleep(0)
        return [each for each in StartingWorker.started if not each.up.done()]

    async def start_all(self) -> None:
        """Let all workers come up."""
        while starting := await self.starting():
            starting[0].up.set_result(PROXY)

    async def stop(self) -> None:
        """End the supervisor."""
        self.supervisor._stop()
        await asyncio.wait_for(self.running, BOUND_S)


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "process_cpu_count", lambda: CORES)
    monkeypatch.setattr(supervisor, "Worker", StartingWorker)
    StartingWorker.started = []
    StartingWorker.may_start = asyncio.Event()
    StartingWorker.may_start.set()
    yield
    StartingWorker.started = []


@pytest.fixture
def counts() -> Iterator[int]:
    """Descriptor of the numbers of connections."""
    with shared_counts(WORKERS) as file:
        yield file.fileno()


async def test_workers_start_a_few_at_a_time_after_the_first(counts: int) -> None:
    machine = Machine(counts)
    (first,) = await machine.starting()
    assert not machine.reporter.reports
    first.up.set_result(PROXY)
    assert [each.number for each in await machine.starting()] == [2, 3]
    assert len(machine.reporter.reports) == 1
    StartingWorker.started[1].up.set_result(PROXY)
    assert [each.number for each in await machine.starting()] == [3, 4]
    await machine.start_all()
    assert [each.number for each in StartingWorker.started] == list(range(1, WORKERS + 1))
    await machine.stop()


async def test_workers_that_die_together_are_replaced_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch, counts: int
) -> None:
    monkeypatch.setattr(supervisor, "_SOON_S", -1.0)  # so that no delay precedes a replacement
    machine = Machine(counts)
    await machine.start_all()
    for worker in list(StartingWorker.started):
        worker.die()
    assert len(await machine.starting()) == CORES
    await machine.start_all()
    assert len(StartingWorker.started) == 2 * WORKERS
    await machine.stop()


async def test_shutdown_during_the_start_starts_no_further_worker(counts: int) -> None:
    machine = Machine(counts)
    (first,) = await machine.starting()
    first.up.set_result(PROXY)
    assert len(await machine.starting()) == CORES
    await machine.stop()
    assert len(StartingWorker.started) == 1 + CORES


async def test_worker_is_counted_once_while_its_replacement_starts(counts: int) -> None:
    machine = Machine(counts)
    await machine.start_all()
    StartingWorker.may_start.clear()
    replacing = asyncio.create_task(machine.supervisor._replace_all())
    await machine.starting()
    asked = list(machine.supervisor._endpoint._workers())
    assert sorted(worker.number for worker in asked) == list(range(1, WORKERS + 1))
    replacing.cancel()
    StartingWorker.may_start.set()
    await machine.stop()
