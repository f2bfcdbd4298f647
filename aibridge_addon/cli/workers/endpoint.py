"""The metrics and probes of all workers together, over HTTP."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from aibridge_addon.addresses import url_here
from aibridge_addon.cli.workers.process import ANSWER_S, Worker
from aibridge_addon.observe.aggregation import added, lasting
from aibridge_addon.observe.health import Health, read_health
from aibridge_addon.observe.listener import CHECK_SECONDS, Listener
from aibridge_addon.observe.metric_table import WORKER_EXITS, WORKERS

REFRESH_S = 5.0
"""Interval of reports, so that little is missing from the counts of a worker that was killed."""


class Endpoint(Collector):
    """Asks the workers at each scrape, and keeps the counts of those that have ended."""

    def __init__(
        self, workers: Callable[[], Iterable[Worker]], is_ready: Callable[[], bool]
    ) -> None:
        self._workers = workers
        self._is_ready = is_ready
        self._loop = asyncio.get_running_loop()
        self._ended: list[Family] = []
        self._latest: list[list[Family]] = []
        self._exits = 0
        self._listener: Listener | None = None
        self._refreshing = self._loop.create_task(self._refresh())

    def start(self, address: tuple[str, int] | None) -> str | None:
        """Serve at an address; return its URL.

        Raises:
            OSError: the address cannot be listened on.
        """
        if address is None:
            return None
        registry = CollectorRegistry()
        registry.register(self)
        self._listener = Listener(address, registry, self._health, self._is_ready)
        return url_here(*address)

    def close(self) -> None:
        """Stop serving."""
        self._refreshing.cancel()
        if self._listener:
            self._listener.close()

    def note_end(self, worker: Worker) -> None:
        """Keep the counts of a worker that has ended."""
        self._ended = added([self._ended, lasting(worker.families)])
        worker.families = []

    def note_exit(self, worker: Worker) -> None:
        """Count a worker that ended unasked."""
        self._exits += 1
        self.note_end(worker)

    def describe(self) -> Iterator[Family]:
        """Yield no families: those of the workers are known at a scrape only."""
        yield from ()

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of all workers together; called on a thread of the listener."""
        asked = asyncio.run_coroutine_threadsafe(self._ask_for_families(), self._loop)
        try:
            self._latest = asked.result(ANSWER_S + CHECK_SECONDS)
        except (TimeoutError, RuntimeError):
            asked.cancel()
        yield from added(self._latest)
        up = sum(worker.is_up for worker in self._workers())
        yield GaugeMetricFamily(f"aibridge_{WORKERS.name}", WORKERS.help, value=up)
        name = f"aibridge_{WORKER_EXITS.name}"
        yield CounterMetricFamily(name, WORKER_EXITS.help, value=self._exits)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._ask()

    async def _ask_for_families(self) -> list[list[Family]]:
        """Return the metrics of all workers, running and ended.

        They are put together on the event loop, where workers are moved to those that have ended:
        another thread could see a worker's counts in both places or in neither.
        """
        await self._ask()
        return [self._ended, *(worker.families for worker in self._workers())]

    async def _ask(self) -> None:
        await asyncio.gather(*(worker.ask() for worker in self._workers()))

    def _health(self) -> Health:
        """Return the worst health of the workers, as reported last."""
        return Health.of_all(
            read_health(worker.report.health)
            for worker in self._workers()
            if worker.is_up and worker.report
        )
