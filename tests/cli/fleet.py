"""`Fleet`: proxies with several workers behind HAProxy and nginx, and their PostgreSQL server."""

import os
import re
import shutil
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from databases import PostgresDatabase, make_template
from docs.blocks import blocks
from e2e.central import ToolServer
from e2e.tables import server_toml
from ports import free_port
from postgres_server import Server
from tcp_proxy import TCPProxy

from aibridge_addon.access.tokens import AccessToken
from cli.command import Home, Process, wait_until

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
HAPROXY = shutil.which("haproxy", path=_PATH)
NGINX = shutil.which("nginx", path=_PATH)
LIMIT = 10**9
"""Nano-USD that each spender may spend."""
LARGEST = 2 * 10**8
"""More than a request can cost: about 60 tokens of input and 100 of output, at 0.1 cents."""
_RULES = """
[[prices]]
match = "*"
input = 1_000
output = 1_000
cache_read = 1_000

[[budgets]]
name = "small"
per = "actor"
actors = ["spender-*"]
usd = 1
timezone = "UTC"
window = "total"
credentials = ["byok"]
wait_s = 1
"""


def documented_haproxy() -> str:
    """Return the configuration of HAProxy in the documentation."""
    (block,) = [block for block in blocks("") if "backend reverse" in block.code]
    return block.code


def _fleets_haproxy(members: Sequence["Member"], port: int) -> str:
    """Return the documented configuration with other ports and servers, without forward mode."""
    config = documented_haproxy().partition("frontend forward")[0]
    config = config.replace("bind :8081", f"bind 127.0.0.1:{port}")
    servers = (
        f"    server s{number} 127.0.0.1:{each.port} check port {each.metrics_port}\n"
        for number, each in enumerate(members)
    )
    return re.sub(r"(?m)^ +server .*\n", "", config).rstrip() + "\n" + "".join(servers)


def _fleets_nginx(members: Sequence["Member"], port: int, forward_port: int, folder: Path) -> str:
    """Return the documented configuration of nginx with other ports, servers and folders."""
    (block,) = blocks("nginx")
    config = re.sub(r"(?m)^ +server 10\.0\.0\.2:.*\n", "", block.code)
    for documented, ours, attribute in ((8081, port, "port"), (8080, forward_port, "forward_port")):
        servers = (f"server 127.0.0.1:{getattr(each, attribute)};" for each in members)
        config = config.replace(f"server 10.0.0.1:{documented};", " ".join(servers))
        config = config.replace(f"listen {documented};", f"listen 127.0.0.1:{ours};")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    own = f"daemon off; pid {folder}/nginx.pid; error_log stderr;"
    return own + config.replace("http {", "http {" + folders)


class Member:
    """A proxy of the fleet, which can be started again at the same ports."""

    def __init__(self, home: Home, options: Sequence[str], workers: int, **start: Any) -> None:
        self.port, self.forward_port, self.metrics_port = free_port(), free_port(), free_port()
        self.workers = workers
        self._home = home
        self._options = (
            *("--port", str(self.forward_port), "--reverse-port", str(self.port)),
            *("--workers", str(workers)),
            *("--metrics", f"127.0.0.1:{self.metrics_port}", "--drain", "0.5", *options),
        )
        self._start = start
        self.process: Process

    @property
    def url(self) -> str:
        """Address of its reverse proxy."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return once it is up."""
        self.process = self._home.start_proxy(*self._options, **self._start)

    def worker_pids(self) -> list[int]:
        """Return the process ids of its workers."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def kill(self) -> None:
        """Kill all its processes."""
        pids = self.worker_pids() if self.workers > 1 else []
        self.process.kill()
        for pid in pids:
            psutil.Process(pid).kill()


class Fleet:
    """The proxies, the balancer, the database server, and the network between them."""

    def __init__(
        self,
        home: Home,
        stack: ExitStack,
        *,
        workers: Sequence[int],
        actors: Iterable[str],
        quick: bool,
    ) -> None:
        self.server = Server()
        stack.callback(self.server.remove)
        make_template(self.server.url)
        self._database = PostgresDatabase(self.server.url).location.rpartition("/")[2]
        self.ca = home.confdir / "mitmproxy-ca-cert.pem"
        self.tokens = {actor: self._new_token(actor) for actor in actors}
        """Access tokens, which every process knows from its start."""
        self.network = stack.enter_context(TCPProxy(self.server.port))
        tools = ToolServer("http")
        stack.callback(tools.stop)
        with home.config.open("a") as config:
            config.write(_RULES + server_toml("calc", url=tools.url, allow="^add$"))
        location = f"postgresql://postgres@127.0.0.1:{self.network.port}/{self._database}"
        options = ["--db", location, "--set", "aibridge_require_token=always"]
        env = {}
        if quick:
            options += ["--set", "aibridge_plugins=quick_reconnection"]
            env = {"PYTHONPATH": str(Path(__file__).parent)}
        self.members = [Member(home, options, count, env=env) for count in workers]
        with ThreadPoolExecutor() as threads:
            list(threads.map(Member.start, self.members))
        self.haproxy, self.nginx, self.nginx_forward = (
            f"http://127.0.0.1:{port}" for port in self._start_balancers(home)
        )

    def _new_token(self, actor: str) -> str:
        text, token = AccessToken.make(actor)
        self.database.store.add_access_token(token)
        return text

    def _start_balancers(self, home: Home) -> tuple[int, int, int]:
        ports = free_port(), free_port(), free_port()
        path = home.path / "haproxy.cfg"
        path.write_text(_fleets_haproxy(self.members, ports[0]))
        home.start_program([str(HAPROXY), "-f", str(path)])
        path = home.path / "nginx.conf"
        path.write_text(_fleets_nginx(self.members, ports[1], ports[2], home.path))
        home.start_program([str(NGINX), "-c", str(path), "-e", "stderr"])
        wait_until(lambda: all(map(_is_listening, ports)), "a balancer does not listen")
        return ports

    @property
    def urls(self) -> list[str]:
        """Addresses of the balancers for the reverse proxies."""
        return [self.haproxy, self.nginx]

    @property
    def database(self) -> PostgresDatabase:
        """The database at the server itself."""
        return PostgresDatabase.at(f"{self.server.url}/{self._database}")

    def move_server(self) -> None:
        """Start the server, which was stopped, at another port, to which the network leads."""
        self.server.start(free_port())
        self.network.move(self.server.port)


def _is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
