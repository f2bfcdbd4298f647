"""`aibridge proxy --workers`: shared ports, replacement of dead workers, rolling replacement."""

import json
import os
import re
import socket
from contextlib import ExitStack, suppress
from signal import SIGHUP, SIGTERM
from urllib.parse import urlsplit

import click
import httpx2
import psutil
import pytest
from e2e.records import read_records
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from aibridge_addon.cli.proxy import _check_workers
from cli.command import Home, Process, wait_until
from cli.fleet_clients import Crowd
from cli.test_proxy import ask, open_stream

CLIENTS = 4
CONNECTIONS = 24
ENDING = "ending once open requests are complete"


@pytest.fixture
def metrics() -> str:
    """Address of the metrics."""
    return f"127.0.0.1:{free_port()}"


def start_workers(home: Home, metrics: str, count: int, *options: str) -> Process:
    """Start a proxy with several workers, and a limit."""
    with home.config.open("a") as config:
        config.write('[[limits]]\nname = "calm"\nrequests_per_minute = 10_000\n')
    return home.start_proxy("--workers", str(count), "--metrics", metrics, *options)


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


def connections_of(pid: int, url: str) -> int:
    """Return the number of connections that a worker has accepted."""
    accepted = psutil.Process(pid).net_connections()
    port = urlsplit(url).port
    return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port for c in accepted)


def listens(process: Process, url: str) -> bool:
    """Return True if the supervisor or a worker holds the port."""
    port = urlsplit(url).port
    held = []
    for pid in (process.pid, *pids_of(process)):
        with suppress(psutil.NoSuchProcess):  # a worker without an open request ends meanwhile
            held += psutil.Process(pid).net_connections()
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in held)


def assert_connections_are_spread(url: str, pids: set[int]) -> None:
    """Connect without a pause; each worker must accept some, and none more than half.

    A worker that the machine does not run meanwhile gets its share of those that follow.
    """
    address = ("127.0.0.1", urlsplit(url).port)
    opened = 0
    with ExitStack() as stack:

        def is_shared() -> bool:
            nonlocal opened
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection(address, 30))
            opened += CONNECTIONS
            wait_until(lambda: sum(counts()) == opened, "not all connections are accepted")
            return 0 < min(counts()) <= max(counts()) <= opened / 2

        def counts() -> list[int]:
            return [connections_of(pid, url) for pid in pids]

        wait_until(is_shared, "the workers do not share the connections")


def test_four_workers_share_ports_and_report_one_sum(home: Home, metrics: str) -> None:
    workers = start_workers(home, metrics, 4, "--grace", "60")
    pids = pids_of(workers)
    url = reverse_url(home)
    assert_connections_are_spread(url, pids)
    for number in range(10):
        ask(url, f"number {number}")
    assert read_records(home.database).prompts == [f"number {number}" for number in range(10)]
    assert metric(metrics, "aibridge_interceptions_total") == 10
    assert metric(metrics, "aibridge_workers") == 4
    assert page(metrics, "/readyz").status_code == 200
    assert page(metrics, "/healthz").json()["database"] == "ok"
    listed = json.loads(home.invoke("status", "--json").stdout)
    assert {row["pid"] for row in listed if row["state"] == "up"} == pids
    _, _, *lines = home.invoke("status").stdout.splitlines()
    assert len(lines[:-2]) == 4
    assert "each process enforces 1/4 of them" in lines[-1]
    wait_until(
        lambda: page(metrics, "/healthz").json()["limits"] == {"processes": 4},
        "the workers do not share the limit",
    )
    assert "each of 4 processes enforces 1/4" in home.invoke("limits").stdout
    assert home.proxy().pid == workers.pid not in pids

    load = Crowd([url], "", "load", CLIENTS)
    with load.running():
        load.wait_for_more()
        leaving = min(pids)
        os.kill(leaving, SIGTERM)
        workers.wait_for(rf"\(process {leaving}\) ended with code 0; it is replaced")
        wait_until(lambda: metric(metrics, "aibridge_workers") == 4, "it is not replaced")
        load.wait_for_more()
    assert load.outcomes.keys() == {"200"}

    with open_stream(url, "GATE:never"):
        before = workers.text.count(ENDING)
        workers.send(SIGTERM)
        wait_until(lambda: workers.text.count(ENDING) > before, "the worker does not wait")
        wait_until(lambda: not listens(workers, url), "clients would wait for the end")
        assert workers.stop() == 0, workers.text  # the second signal
    assert not any(map(psutil.pid_exists, pids))
    assert "No proxy process" in home.invoke("status").stdout
    assert home.invoke("status", "--all").stdout.count(" ended ") == 5


def test_hangup_replaces_every_worker_and_fails_no_request(home: Home, metrics: str) -> None:
    workers = start_workers(home, metrics, 2, "--grace", "60")
    before = pids_of(workers)
    load = Crowd([reverse_url(home)], "", "load", CLIENTS)
    with load.running(), open_stream(reverse_url(home), "GATE:roll") as it:
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
    assert load.outcomes.keys() == {"200"}
    assert workers.stop() == 0, workers.text
    assert not any(map(psutil.pid_exists, before))


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
