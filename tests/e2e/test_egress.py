"""Egress rules end to end: tunnels, plain requests, SOCKS, TLS names and upstream proxies.

The names of these tests are answered by the proxy's own process: see `names`.
"""

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx2
import pytest
from ports import free_port
from standin import Authority, Server

from e2e.bodies import MESSAGES
from e2e.clients import TIMEOUT_S
from e2e.conftest import StartProxy, StartStandin
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.raw_server import RawServer
from e2e.records import Records
from e2e.wire import open_tunnel, read_head

PROVIDER_HOST = "api.anthropic.com"
OPTION = "aibridge_private_networks"

RESOLVER = '''\
"""Resolves some names itself: each lookup returns the next list of addresses."""

import json, os, socket

asked_before = socket.getaddrinfo
names = json.loads(os.environ["NAMES"])


def getaddrinfo(host, port, *args, **kwargs):
    answers = names.get(host)
    if answers is None:
        return asked_before(host, port, *args, **kwargs)
    print("looked up", host, flush=True)
    addresses = answers.pop(0) if len(answers) > 1 else answers[0]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [one for each in addresses for one in asked_before(each, port, *args, **kwargs)]


socket.getaddrinfo = getaddrinfo
'''

NAMES = {
    "intranet.test": [["10.1.2.3"]],
    "metadata.test": [["169.254.169.254"]],
    "mixed.test": [["8.8.8.8", "10.1.2.3"]],
    "mixed6.test": [["2606:4700::1111", "fd00::1"]],
    "public.test": [["2606:4700::1111", "8.8.8.8"]],
    "here.test": [["::1", "127.0.0.1"]],
    "nowhere.test": [[]],
    "lost.test": [[]],
    # Harmless when it is checked, and another when it is connected to.
    "rebind.test": [["127.0.0.1"], ["127.0.0.2"]],
    "unsteady.test": [[], ["127.0.0.1"]],
}


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the environment of a proxy that resolves `NAMES`."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "sitecustomize.py").write_text(RESOLVER)
    return {"PYTHONPATH": str(folder), "NAMES": json.dumps(NAMES)}


def instance(name: str, origin: str) -> str:
    """Return the config of a provider instance."""
    return f'[[providers]]\nname = "{name}"\ntype = "anthropic"\nbase_url = "{origin}"\n'


class MoreModes(Proxy):
    """A proxy that also listens for SOCKS and in upstream mode."""

    upstream_port = 0
    """The port of the upstream proxy."""

    def _arguments(self) -> list[str]:
        self.socks_port, self.chained_port = free_port(), free_port()
        upstream = f"upstream:http://127.0.0.1:{self.upstream_port}@127.0.0.1:{self.chained_port}"
        socks = f"socks5@127.0.0.1:{self.socks_port}"
        return [*super()._arguments(), "--mode", upstream, "--mode", socks]


@pytest.fixture(scope="module")
def other_proxy() -> Iterator["OtherProxy"]:
    """Run the upstream proxy."""
    with OtherProxy() as made:
        yield made


@pytest.fixture(scope="module")
def proxy(
    run_proxy: RunProxy, standin: Server, other_proxy: "OtherProxy", names: Mapping[str, str]
) -> Iterator[Proxy]:
    """Run a proxy that allows its providers only: the default ones, and one on this machine."""
    with run_proxy(
        standin.origin,
        kind=MoreModes,
        config=instance("inner", standin.origin) + "hosts = []\n",
        before_start=lambda made: setattr(made, "upstream_port", other_proxy.port),
        env=names,
        metrics=True,
    ) as made:
        yield made


class OtherProxy(RawServer):
    """An upstream proxy that refuses everything and stores the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def serve(self, peer: socket.socket) -> None:
        self.requests.append(read_head(peer).split(b"\r\n")[0].decode())
        peer.sendall(b"HTTP/1.1 418 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")


@contextmanager
def untouched(address: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port; fail if anybody connects to it within the block."""
    with socket.create_server((address, 0)) as listener:
        yield listener.getsockname()[1]
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def refusals(proxy: Proxy) -> float:
    """Return the number of refused connections."""
    return metric(proxy, "aibridge_refused_total", provider="", reason="private_address")


def ask_for_tunnel(port: int, target: str) -> tuple[str, str]:
    """Send a CONNECT; return head and body of the response unless a tunnel opens."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = read_head(sock).decode()
        if not (length := re.search(r"(?i)content-length: (\d+)", head)):
            return head, ""
        body = b""
        while len(body) < int(length[1]):
            body += sock.recv(int(length[1]))
    return head, body.decode()


# A tunnel

PRIVATE = [
    ("127.0.0.1", "loopback"),
    ("127.0.0.1.", "loopback"),
    ("127.1", "loopback"),
    ("0x7f000001", "loopback"),
    ("2130706433", "loopback"),
    ("017700000001", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("localhost", "loopback"),
    ("LOCALHOST", "loopback"),
    ("[::1]", "loopback"),
    ("[::ffff:127.0.0.1]", "loopback"),
    ("10.0.0.1", "private"),
    ("100.100.100.200", "private"),
    ("169.254.169.254", "link-local"),
    ("[::ffff:169.254.169.254]", "link-local"),
    ("[64:ff9b::a9fe:a9fe]", "link-local"),
    ("[2002:a9fe:a9fe::1]", "link-local"),
    ("[fe80::1]", "link-local"),
    ("[fd00:ec2::254]", "private"),
    ("168.63.129.16", "reserved"),
    ("239.255.255.250", "multicast"),
    ("intranet.test", "private"),
    ("metadata.test", "link-local"),
    ("mixed.test", "private"),
    ("mixed6.test", "private"),
    ("here.test", "loopback"),
]


@pytest.mark.parametrize(("host", "kind"), PRIVATE)
def test_tunnel_to_a_non_public_address_is_refused(proxy: Proxy, host: str, kind: str) -> None:
    before = refusals(proxy)
    with untouched() as port:
        head, body = ask_for_tunnel(proxy.forward_port, f"{host}:{port}")
    assert head.startswith("HTTP/1.1 403 Private address (see NO_PROXY and ")
    assert body == (
        f"aibridge: this proxy does not connect to {host.strip('[]')}, since its address is {kind};"
        f" add it to NO_PROXY to connect directly, or to the option {OPTION} to allow it.\n"
    )
    assert refusals(proxy) == before + 1


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "public.test"])
def test_tunnel_to_a_public_address_opens(proxy: Proxy, host: str) -> None:
    before = refusals(proxy)
    head, _ = ask_for_tunnel(proxy.forward_port, f"{host}:443")  # nothing is said, so nothing opens
    assert head.startswith("HTTP/1.1 200 ")
    assert refusals(proxy) == before


@pytest.mark.parametrize("host", ["nowhere.test", "a..b", "x" * 70])
def test_tunnel_to_an_unresolvable_name_is_answered_with_502(proxy: Proxy, host: str) -> None:
    head, body = ask_for_tunnel(proxy.forward_port, f"{host}:443")
    assert head.startswith(("HTTP/1.1 502 ", "HTTP/1.1 400 "))  # mitmproxy itself refuses some
    assert host in body or "400" in head


def test_unresolvable_name_is_named_to_the_client_and_logged_once(proxy: Proxy) -> None:
    mark = len(proxy.log)
    for _ in range(2):
        head, _ = ask_for_tunnel(proxy.forward_port, "lost.test:443")
        assert head.startswith("HTTP/1.1 502 Host name cannot be resolved by the proxy\r\n")
    logged = [line for line in proxy.log[mark:] if "lost.test cannot be resolved" in line]
    assert ["logged once per host" in line for line in logged] == [True]


def test_refused_host_is_logged_once(proxy: Proxy) -> None:
    mark = len(proxy.log)
    for host in ("10.99.0.1", "10.99.0.2", "10.99.0.1", "10.99.0.1"):
        ask_for_tunnel(proxy.forward_port, f"{host}:443")
    told = [line for line in proxy.log[mark:] if "logged once per host" in line]
    assert ["10.99.0.1" in line for line in told] == [True, False]


def test_other_ports_of_a_provider_host_are_refused(proxy: Proxy, standin: Server) -> None:
    with untouched() as port:
        head, _ = ask_for_tunnel(proxy.forward_port, f"127.0.0.1:{port}")
    assert head.startswith("HTTP/1.1 403 ")
    with open_tunnel(proxy.forward_port, "127.0.0.1", standin.port):
        pass  # that of its base URL is not


# A plain request


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "localhost", "here.test"])
def test_plain_request_to_a_non_public_address_is_refused(proxy: Proxy, host: str) -> None:
    before = refusals(proxy)
    with proxy.recording() as records, untouched() as port:
        request = f"GET http://{host}:{port}/x HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", proxy.forward_port), TIMEOUT_S) as sock:
            for _ in range(2):  # by one connection: the second one is looked at too
                sock.sendall(request)
                head = read_head(sock)
                assert head.startswith(b"HTTP/1.1 403 ")
                body = sock.recv(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))  # type: ignore[index]
                assert f"does not connect to {host}, since its address is loopback" in body.decode()
                assert OPTION in body.decode()
    assert refusals(proxy) == before + 2
    assert records == Records()


def test_non_public_address_with_a_provider_host_header_is_refused_with_a_provider_error(
    proxy: Proxy,
) -> None:
    with (
        proxy.recording() as records,
        untouched() as port,
        httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http,
    ):
        answer = http.post(
            f"http://127.0.0.1:{port}/v1/messages",
            content=MESSAGES.request("hi", stream=True),
            headers={**MESSAGES.headers, "host": PROVIDER_HOST},
        )
    assert answer.status_code == 403
    assert MESSAGES.is_error(answer.json())
    assert OPTION in answer.json()["error"]["message"]
    row = records.interception
    assert (row["status"], row["error_type"]) == ("refused", "private_address")
    assert row["http_status"] == 403


# SOCKS: the client says where to before it says in TLS whom it means


def socks(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Request a connection by SOCKS; it fails only when data is sent."""
    assert isinstance(proxy, MoreModes)
    sock = socket.create_connection(("127.0.0.1", proxy.socks_port), TIMEOUT_S)
    sock.sendall(b"\x05\x01\x00")
    assert sock.recv(2) == b"\x05\x00"
    sock.sendall(b"\x05\x01\x00\x03%c%b" % (len(host), host.encode()) + port.to_bytes(2))
    assert sock.recv(10)[:2] == b"\x05\x00"
    return sock


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "here.test"])
def test_socks_connection_to_a_non_public_address_is_closed(proxy: Proxy, host: str) -> None:
    before = refusals(proxy)
    with untouched() as port, socks(proxy, host, port) as sock:
        sock.sendall(b"SSH-2.0-client\r\n")
        assert sock.recv(100) == b""
    assert refusals(proxy) == before + 1


def test_non_public_address_with_a_provider_name_in_tls_is_refused(
    proxy: Proxy, authority: Authority
) -> None:
    context = ssl.create_default_context(cafile=str(proxy.ca_path))
    body = MESSAGES.request("hi", stream=False)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: {PROVIDER_HOST}\r\nx-api-key: k\r\n"
    with (
        proxy.recording() as records,
        untouched() as port,
        context.wrap_socket(socks(proxy, "127.0.0.1", port), server_hostname=PROVIDER_HOST) as tls,
    ):
        tls.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        assert read_head(tls).startswith(b"HTTP/1.1 403 ")
    assert records.interception["error_type"] == "private_address"


# Behind another proxy, which resolves names itself


def chained(proxy: Proxy) -> int:
    """Return the port of the upstream mode."""
    assert isinstance(proxy, MoreModes)
    return proxy.chained_port


@pytest.mark.parametrize("host", ["10.0.0.1", "127.1", "localhost", "x.localhost"])
def test_upstream_proxy_is_not_asked_for_a_non_public_address(
    proxy: Proxy, other_proxy: OtherProxy, host: str
) -> None:
    asked = list(other_proxy.requests)
    for written in (host, "[::ffff:10.0.0.1]"):
        head, body = ask_for_tunnel(chained(proxy), f"{written}:443")
        assert head.startswith("HTTP/1.1 403 ")
        assert OPTION in body
    with httpx2.Client(proxy=f"http://127.0.0.1:{chained(proxy)}", trust_env=False) as http:
        answer = http.get(f"http://{host}/")
        assert answer.status_code == 403
        assert OPTION in answer.text
        answer = http.post(
            f"http://{host}/v1/messages",
            content=MESSAGES.request("hi", stream=False),
            headers={**MESSAGES.headers, "host": PROVIDER_HOST},
        )
        assert answer.status_code == 403
    assert other_proxy.requests == asked


def test_upstream_proxy_is_asked_for_host_names(proxy: Proxy, other_proxy: OtherProxy) -> None:
    with httpx2.Client(proxy=f"http://127.0.0.1:{chained(proxy)}", trust_env=False) as http:
        assert http.get("http://intranet.test/").status_code == 418
    assert other_proxy.requests[-1] == "GET http://intranet.test/ HTTP/1.1"
    assert "looked up intranet.test" not in proxy.log_text(len(proxy.log) - 5)


# What is allowed


def echo(listener: socket.socket) -> None:
    """Echo the data of the first client until it disconnects."""
    peer, _ = listener.accept()
    with peer:
        while data := peer.recv(1024):
            peer.sendall(data)


@contextmanager
def echoing(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield a port with an echo server."""
    with socket.create_server((address, port)) as listener:
        listener.settimeout(TIMEOUT_S)
        thread = threading.Thread(target=echo, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(TIMEOUT_S)


@pytest.fixture
def allowing(start_proxy: StartProxy, names: Mapping[str, str]) -> Callable[[str], Proxy]:
    """Return a function that starts a proxy with an allowed private destination."""
    return lambda allowed: start_proxy(options={OPTION: allowed}, env=names, metrics=True)


@pytest.mark.parametrize(
    ("allowed", "hosts", "refused"),
    [
        ("127.0.0.0/8", ["127.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]"], ["here.test"]),
        ("localhost, 10.0.0.0/8", ["localhost", "LocalHost"], ["127.0.0.1"]),
        ("*", ["127.0.0.1", "localhost"], []),
    ],
)
def test_allowed_private_destination_is_connected(
    allowing: Callable[[str], Proxy], allowed: str, hosts: Sequence[str], refused: Sequence[str]
) -> None:
    proxy = allowing(allowed)
    for host in hosts:
        with echoing() as port, open_tunnel(proxy.forward_port, host, port) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
    for host in refused:
        assert ask_for_tunnel(proxy.forward_port, f"{host}:443")[0].startswith("HTTP/1.1 403 ")
    assert refusals(proxy) == len(refused)


def test_connection_uses_the_checked_address_despite_a_changed_lookup(
    allowing: Callable[[str], Proxy],
) -> None:
    proxy = allowing("127.0.0.1")
    with (
        untouched("127.0.0.2") as port,
        echoing("127.0.0.1", port),
        open_tunnel(proxy.forward_port, "rebind.test", port) as sock,
    ):
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    proxy.wait_for_log("looked up rebind.test")
    assert proxy.log.count("looked up rebind.test") == 1


def test_unresolvable_name_is_not_resolved_again_by_mitmproxy(proxy: Proxy) -> None:
    with untouched() as port, httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http:
        answer = http.get(f"http://unsteady.test:{port}/")
    assert answer.status_code == 502
    assert "cannot be resolved" in answer.text
    proxy.wait_for_log("looked up unsteady.test")
    assert proxy.log.count("looked up unsteady.test") == 1


def test_connection_by_name_is_reused_and_shown_with_the_name(
    allowing: Callable[[str], Proxy], start_standin: StartStandin
) -> None:
    server = start_standin(tls=False)
    proxy = allowing("127.0.0.0/8,::1")
    mark = len(proxy.log)
    with httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http:
        for _ in range(3):
            answer = http.get(f"http://here.test:{server.port}/v1/models")
            assert answer.status_code == 200, answer.text
        assert len(server.links) == 1
    proxy.wait_for_log("looked up here.test")
    assert proxy.log.count("looked up here.test") == 1
    assert [r.header("host") for r in server.requests] == [f"here.test:{server.port}"] * 3
    assert f"server connect 127.0.0.1:{server.port}" in proxy.log_text(mark)  # not the IPv6 one


def test_provider_host_is_allowed_whatever_its_address_is(
    start_proxy: StartProxy, start_standin: StartStandin, names: Mapping[str, str]
) -> None:
    server = start_standin(tls=False)
    config = instance("inner", f"http://here.test:{server.port}")
    proxy = start_proxy(config=config, env=names, metrics=True)
    with httpx2.Client(proxy=proxy.forward_url, trust_env=False) as http, proxy.recording() as rows:
        for base in (f"http://here.test:{server.port}", f"{proxy.reverse_url}/inner"):
            answer = (http if "here" in base else httpx2).post(
                f"{base}/v1/messages",
                content=MESSAGES.request("hi", stream=False),
                headers=MESSAGES.headers,
            )
            assert answer.status_code == 200, answer.text
        with untouched() as port:
            answer = http.get(f"http://here.test:{port}/")  # nor is all else of its machine
        assert answer.status_code == 403
        assert MESSAGES.is_error(answer.json())
    assert [row["status"] for row in rows.interceptions] == ["completed"] * 2
    assert refusals(proxy) == 1
