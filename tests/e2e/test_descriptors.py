"""Descriptors: a proxy without free file descriptors logs one line, and recovers."""

import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from e2e.asking import APIS
from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy

LIMIT = 128


@pytest.mark.may_log_errors
def test_proxy_out_of_file_descriptors_logs_one_line_and_recovers(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy()
    assert proxy.process is not None
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    with ExitStack() as connections:
        for _ in range(LIMIT + 20):
            address = ("127.0.0.1", proxy.reverse_port)
            connections.enter_context(socket.create_connection(address))
        proxy.wait_for_log("aibridge: out of file descriptors")

    APIS[0].ask(clients_of(proxy), Way("reverse"), "Are you there again?")

    log = proxy.log_text()
    assert log.count("file descriptors") == 1
    assert "Traceback" not in log
    assert proxy.records.interception["status"] == "completed"
