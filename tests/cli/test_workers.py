"""`aibridge proxy --workers`: shared ports, replacement of dead workers, rolling replacement."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGHUP, SIGTERM

import anthropic
import click
import httpx2
import psutil
import pytest
from e2e.records import read_records
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from aibridge_addon.cli.proxy import _check_workers
from cli.command import Home, Process, wait_until
from cli.test_proxy import ask, open_stream

CLIENTS = 4


@pytest.fixture
def metrics() -> str:
    """Address of the metrics."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def workers(home: Home, metrics: str) -> Process:
    """A proxy with two workers, and a limit."""
    with home.config.open("a") as config:
        config.write('[[limits]]\nname = "calm"\nrequests_per_minute = 10_000\n')
    return home.start_proxy("--workers", "2", "--metrics", metrics)


def pids_of(process: Process) -> set[int]:
    return {child.pid for child in psutil.Process(process.pid).children()}


def reverse_url(home: Home) -> str:
    url = home.proxy().reverse_url
    assert url
    return url


def metric(address: str, name: str) -> float:
    """Return the sum of a metric's samples."""
    families = text_string_to_metric_families(page(address, "/metrics").text)
    return sum(s.value for family in families for s in family.samples if s.name == name)


def page(address: str, path: str) -> httpx2.Response:
    return httpx2.get(f"http://{address}{path}", trust_env=False, timeout=30)


class Load:
    """Clients that ask one after the other, each time over a new connection."""

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.errors: list[Exception] = []
        self._over = threading.Event()

    @contextmanager
    def running(self, url: Callable[[], str]) -> Iterator[None]:
        """Ask until the context ends."""
        threads = [threading.Thread(target=self._ask, args=(name, url)) for name in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _ask(self, name: int, url: Callable[[], str]) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            text = f"client {name} request {number}"
            try:
                ask(url(), text)
            except anthropic.APIError as error:
                self.errors.append(error)
            else:
                self.answered.append(text)

    def wait_for_more(self) -> None:
        """Wait until each client has got a few more answers."""
        enough = len(self.answered) + 3 * CLIENTS
        wait_until(lambda: len(self.answered) >= enough, "no answers")


def test_workers_share_ports_and_report_one_sum(home: Home, workers: Process, metrics: str) -> None:
    first, second = pids_of(workers)
    url = reverse_url(home)
    for number in range(10):
        ask(url, f"number {number}")
    assert read_records(home.database).prompts == [f"number {number}" for number in range(10)]
    assert metric(metrics, "aibridge_interceptions_total") == 10
    assert metric(metrics, "aibridge_workers") == 2
    assert page(metrics, "/readyz").status_code == 200
    assert page(metrics, "/healthz").json()["database"] == "ok"
    listed = json.loads(home.invoke("status", "--json").stdout)
    assert {row["pid"] for row in listed if row["state"] == "up"} == {first, second}
    _, _, *lines = home.invoke("status").stdout.splitlines()
    assert len(lines[:-2]) == 2
    assert "each process enforces 1/2 of them" in lines[-1]
    wait_until(
        lambda: page(metrics, "/healthz").json()["limits"] == {"processes": 2},
        "the workers do not share the limit",
    )
    assert "each of 2 processes enforces 1/2" in home.invoke("limits").stdout
    assert home.proxy().pid == workers.pid not in (first, second)
    assert workers.stop() == 0, workers.text
    assert not any(map(psutil.pid_exists, (first, second)))
    assert "No proxy process" in home.invoke("status").stdout
    assert home.invoke("status", "--all").stdout.count(" ended ") == 2


def test_hangup_replaces_every_worker_and_fails_no_request(
    home: Home, workers: Process, metrics: str
) -> None:
    before = pids_of(workers)
    load = Load()
    with load.running(lambda: reverse_url(home)), open_stream(reverse_url(home), "GATE:roll") as it:
        load.wait_for_more()
        counted = [metric(metrics, "aibridge_interceptions_total")]
        workers.send(SIGHUP)

        def are_replaced() -> bool:
            counted.append(metric(metrics, "aibridge_interceptions_total"))
            return "all workers are replaced" in workers.text

        wait_until(are_replaced, "the workers are not replaced")
        assert counted == sorted(counted)
        load.wait_for_more()
        wait_until(
            lambda: len(pids_of(workers) & before) == 1,  # the one with the open stream
            "the old worker without an open stream does not end",
        )
        assert next(it) is not None
    assert load.errors == []
    assert workers.stop() == 0, workers.text
    assert not any(map(psutil.pid_exists, before))


def test_second_signal_ends_open_requests_of_workers(home: Home) -> None:
    process = home.start_proxy("--workers", "2", "--grace", "60")
    with open_stream(reverse_url(home), "GATE:never"):
        process.send(SIGTERM)
        process.wait_for("ending once open requests are complete")
        assert process.stop() == 0, process.text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--web",), "--web shows the traffic of one process"),
        (("--set", "aibridge_metrics_listen=127.0.0.1:1"), "set it with --metrics"),
    ],
)
def test_options_for_a_single_process_are_refused_with_workers(
    home: Home, arguments: tuple[str, ...], reason: str
) -> None:
    result = home.invoke("proxy", "--workers", "2", *arguments)
    assert result.exit_code == 2
    assert reason in result.output


def test_workers_that_cannot_start_end_the_supervisor(home: Home) -> None:
    home.config.write_text("nonsense")
    result = home.run(
        "proxy", "--workers", "2", "--port", "0", "--reverse-port", "0", *home.options
    )
    assert result.returncode == 1
    assert re.search("the workers cannot start; the log says why", result.stderr)


def test_more_workers_than_the_machine_can_start_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8)
    _check_workers((), 32, web=False)
    with pytest.raises(click.UsageError, match="--workers 1000: at most 32 on this machine"):
        _check_workers((), 1000, web=False)
