"""Three proxies behind HAProxy that record in one PostgreSQL database, while parts of it die."""

import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from signal import SIGKILL

import pytest
from databases import PostgresDatabase, make_template
from ports import free_port
from postgres_server import Server, folder_of_programs

from cli.command import Home, Process, wait_until
from cli.test_workers import CLIENTS, Load, page

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.skipif(not HAPROXY, reason="HAProxy is not installed"),
    pytest.mark.skipif(not folder_of_programs(), reason="PostgreSQL is not installed"),
]
CONFIG = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch

listen reverse
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 100ms fall 1 rise 1
"""


class Fleet:
    """The proxies, each with the ports of its reverse proxy and its metrics, and the balancer."""

    def __init__(self, home: Home, location: str) -> None:
        self.proxies: list[Process] = []
        self.metrics: list[str] = []
        self.port = free_port()
        config = CONFIG.format(port=self.port)
        for number in range(3):
            port, metrics = free_port(), free_port()
            options = ("--port", "off", "--reverse-port", str(port), "--db", location)
            self.proxies.append(
                home.start_proxy(*options, "--metrics", f"127.0.0.1:{metrics}", "--drain", "0.5")
            )
            self.metrics.append(f"127.0.0.1:{metrics}")
            config += f"    server s{number} 127.0.0.1:{port} check port {metrics}\n"
        path = home.path / "haproxy.cfg"
        path.write_text(config)
        home.start_program([str(HAPROXY), "-f", str(path)])
        wait_until(self._is_listening, "HAProxy does not listen")

    def _is_listening(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self) -> str:
        """Return the address of the balancer."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that the test may kill."""
    made = Server()
    try:
        make_template(made.url)
        yield made
    finally:
        made.remove()


def test_responses_that_clients_saw_are_recorded_once_whatever_dies(
    home: Home, server: Server
) -> None:
    database = PostgresDatabase(server.url)
    fleet = Fleet(home, database.location)
    load = Load()
    with load.running(fleet.url):
        load.wait_for_more()
        server.stop(SIGKILL)
        load.wait_for_more()
        server.start()
        wait_until(
            lambda: all(
                page(each, "/healthz").json()["database"] == "ok" for each in fleet.metrics
            ),
            "the database is not used again",
        )
        assert load.errors == [], "a request failed because the database was away"
        fleet.proxies[0].kill()
        load.wait_for_more()
        assert fleet.proxies[1].stop() == 0
        load.wait_for_more()
    assert len(load.errors) <= CLIENTS, "more than the requests that were open at the killed proxy"
    assert fleet.proxies[2].stop() == 0
    recorded = Counter(row["prompt"] for row in database.rows("user_prompts"))
    assert set(load.answered) <= recorded.keys()
    assert set(recorded.values()) == {1}
    served = {row["process_id"] for row in database.rows("interceptions")}
    assert len(served) == 3
