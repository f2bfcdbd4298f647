"""The sums of the metrics of all workers, while workers end."""

import asyncio
import threading

import pytest
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily

from aibridge_addon.cli.workers.endpoint import Endpoint
from aibridge_addon.cli.workers.process import Worker

NAME = "aibridge_interceptions"
COUNT = 3.0
DEADLINE_S = 30.0


class EndingWorker(Worker):
    """A worker whose end is noted when another thread than the event loop's reads its metrics."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(lambda: [self], lambda: True)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._families: list[Family] = [CounterMetricFamily(NAME, "Requests.", value=COUNT)]

    @property
    def is_up(self) -> bool:
        return False

    @property
    def families(self) -> list[Family]:
        if threading.get_ident() != self._thread:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(DEADLINE_S)
        return self._families

    @families.setter
    def families(self, families: list[Family]) -> None:
        self._families = families

    async def ask(self) -> None:
        pass

    async def _end(self) -> None:
        self.endpoint.note_end(self)


@pytest.mark.parametrize("has_ended", [False, True])
async def test_worker_that_ends_during_a_scrape_is_counted_once(has_ended: bool) -> None:
    worker = EndingWorker()
    if has_ended:
        worker.endpoint.note_end(worker)
    families = await asyncio.to_thread(lambda: list(worker.endpoint.collect()))
    assert [s.value for f in families if f.name == NAME for s in f.samples] == [COUNT]
    worker.endpoint.close()
