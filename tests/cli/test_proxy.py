"""`aibridge proxy`: service, refused configurations, and shutdown."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGHUP, SIGTERM
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai
import pytest
from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY, Clients, Way
from e2e.proxy import Proxy
from e2e.records import read_records
from e2e.sockets import LeftError, Socket
from ports import free_port
from standin import Provider

from aibridge_addon.cli import proxy as proxy_command
from aibridge_addon.observe import announcement
from cli.command import AIBRIDGE, Home, wait_until

TIMEOUT_S = 30.0
HELLO = {
    "model": "claude-standin-1",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}


def ask(base_url: str, text: str = "hello") -> anthropic.types.Message:
    """Send a request through the reverse proxy."""
    with anthropic.Anthropic(
        base_url=f"{base_url}/anthropic",
        api_key=ANTHROPIC_KEY,
        max_retries=0,
        http_client=httpx2.Client(trust_env=False, timeout=TIMEOUT_S),
    ) as client:
        return client.messages.create(
            model="claude-standin-1",
            max_tokens=100,
            messages=[{"role": "user", "content": text}],
        )


@contextmanager
def open_stream(base_url: str, text: str, token: str = "") -> Iterator[Iterator[str]]:
    """Open a stream; yield its lines after the first event has arrived."""
    with new_client(token) as http, open_stream_of(http, base_url, text) as lines:
        yield lines


def new_client(token: str = "") -> httpx2.Client:
    headers = {"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2023-06-01"}
    if token:
        headers["x-aibridge-token"] = token
    return httpx2.Client(trust_env=False, timeout=TIMEOUT_S, headers=headers)


@contextmanager
def open_stream_of(http: httpx2.Client, base_url: str, text: str) -> Iterator[Iterator[str]]:
    """Open a stream of a client that keeps its connection; yield its lines after the first."""
    body = HELLO | {"stream": True, "messages": [{"role": "user", "content": text}]}
    with http.stream("POST", f"{base_url}/anthropic/v1/messages", json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: message_start"
        yield lines


# Service


def test_forward_and_reverse_proxy_record_in_one_process(shared: Home) -> None:
    where = shared.proxy()
    assert where.forward_url
    assert where.reverse_url
    before = len(read_records(shared.database).interceptions)
    ask(where.reverse_url)
    context = ssl.create_default_context(cafile=where.ca)
    forward = httpx2.Client(proxy=where.forward_url, verify=context, trust_env=False)
    with openai.OpenAI(api_key=OPENAI_KEY, max_retries=0, http_client=forward) as client:
        client.responses.create(model="gpt-5", input="hello")
    rows = read_records(shared.database).interceptions[before:]
    assert [row["api"] for row in rows] == ["anthropic_messages", "openai_responses"]
    assert {row["status"] for row in rows} == {"completed"}


def test_startup_message_has_the_settings_of_clients(shared: Home) -> None:
    where, message = shared.proxy(), shared.processes[0].text
    for value in (where.forward_url, f"{where.reverse_url}/openai/v1", where.ca, "aibridge run"):
        assert str(value) in message
    assert "client connect" not in message


def test_startup_message_states_who_can_use_the_proxy(home: Home, shared: Home) -> None:
    shared.processes[0].wait_for(r"access tokens +not required")
    local = shared.processes[0].text
    everything = (
        r"records +everything that is said \(to record less: --set aibridge_capture=prompts,tools"
    )
    assert re.search(everything, local)
    assert "listens on" not in local
    assert "OPEN:" not in local
    everywhere = ("--listen-host", "0.0.0.0")
    opened = home.start_proxy(*everywhere, "--allow-open")
    opened.wait_for("OPEN: anyone who can reach this proxy can use it")
    opened.wait_for(r"listens on +0\.0\.0\.0: other machines can connect")
    opened.wait_for(
        r"records +prompts, tools, thoughts \(to record nothing: --set aibridge_capture=\)"
    )
    opened.stop()
    asking = home.start_proxy(*everywhere, "--set", "aibridge_require_token=always")
    asking.wait_for(r"access tokens +required")
    assert "OPEN:" not in asking.text


def test_startup_message_is_json_with_a_json_log(home: Home) -> None:
    process = home.start_proxy("--log-format", "json")
    process.stop()
    records = [json.loads(line) for line in process.lines]
    [up] = (record for record in records if "is up, process" in record["message"])
    assert up["level"] == "info"
    assert up["proxy"]["database"] == str(home.database)


def test_reverse_proxy_refuses_a_path_without_a_provider(shared: Home) -> None:
    answer = httpx2.get(f"{shared.proxy().reverse_url}/v1/messages", trust_env=False)
    assert answer.status_code == 404
    assert "not a route of this proxy" in answer.text


def test_doctor_reads_the_health_url_of_the_startup_message(home: Home) -> None:
    process = home.start_proxy("--metrics", f"127.0.0.1:{free_port()}")
    url = process.wait_for("/healthz").split()[-1]
    answer = httpx2.get(url, trust_env=False, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert "the proxy reports no problem" in home.invoke("doctor").output


def test_mitmweb_shows_the_latest_flows_with_their_cost(home: Home) -> None:
    process = home.start_proxy(
        *("--web", "--set", f"web_port={free_port()}", "--set", "aibridge_kept_flows=2")
    )
    for number in range(3):
        ask(str(home.proxy().reverse_url), f"number {number} TOKENS:900,60,0,0")
    assert [row["status"] for row in read_records(home.database).interceptions] == ["completed"] * 3
    page = process.wait_for("Web server listening").partition("at ")[2]
    with httpx2.Client(trust_env=False, timeout=TIMEOUT_S) as client:
        assert "mitmproxy" in client.get(page).raise_for_status().text
        base = page.partition("?")[0]
        flows = client.get(f"{base}flows").raise_for_status().json()
        columns = client.get(f"{base}options").raise_for_status().json()["web_columns"]["value"]
        path = f"{base}flows/{flows[-1]['id']}/request/content/auto.json"
        view = client.get(path).raise_for_status().json()
    assert [flow["comment"].split(" ")[:2] for flow in flows] == [["900→60", "anonymous"]] * 2
    assert "comment" in columns
    assert view["view_name"] == "anthropic messages"
    assert view["text"].endswith("number 2 TOKENS:900,60,0,0")
    assert process.stop() == 0, process.text


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_proxy_raises_its_limit_of_open_files(home: Home) -> None:
    import resource

    command = [*AIBRIDGE, "proxy", *FREE, *home.options]
    process = home.start_program(command, preexec_fn=few_open_files)
    process.wait_for("is up, process")
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    assert soft == min(hard, proxy_command.OPEN_FILES) > 256


def few_open_files() -> None:
    """Lower the limit of open files, as shells and service managers do."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


# Refused configurations


@pytest.mark.parametrize(
    ("config_yaml", "sets", "largest"),
    [
        ("{}", [], 600 * 2**20),
        ("body_size_limit: 7m", [], 7 * 2**20),
        ("{}", ["--set", "body_size_limit=9k"], 9 * 2**10),
    ],
)
def test_body_over_the_size_limit_is_refused(
    home: Home, tmp_path: Path, config_yaml: str, sets: list[str], largest: int
) -> None:
    confdir = tmp_path / "confdir"
    shutil.copytree(home.confdir, confdir)
    (confdir / "config.yaml").write_text(config_yaml)
    home.start("proxy", *FREE, "--set", f"confdir={confdir}", *sets).wait_for("is up, process")
    port = int(str(home.proxy().reverse_url).rpartition(":")[2])

    def answer(length: int) -> bytes:
        """Announce a body without sending it; return the status line of the response."""
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as sock:
            head = "POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
            sock.sendall(f"{head}content-length: {length}\r\n\r\n".encode())
            return sock.recv(1024).split(b"\r\n")[0]

    assert answer(largest) == b"HTTP/1.1 100 Continue"
    assert answer(largest + 1) == b"HTTP/1.1 413 Payload Too Large"


def refused(home: Home, *arguments: str) -> str:
    """Return the error with which the command ends; it runs in this process."""
    result = home.invoke("proxy", *arguments)
    assert result.exit_code not in (0, None), result.output
    assert isinstance(result.exception, SystemExit)
    assert "is up" not in result.stdout
    return result.stderr


def test_port_in_use_is_an_error_with_its_option(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        message = refused(home, "--port", port)
        assert f"port {port}" in message
        assert "another program" in message
        assert "--port" in message
        assert "--reverse-port" in refused(home, "--port", "0", "--reverse-port", port)


def test_port_of_the_running_proxy_is_an_error_with_its_process(shared: Home) -> None:
    where = shared.proxy()
    port = str(where.forward_url).rpartition(":")[2]
    assert f"process {where.pid}" in refused(shared, "--port", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_listening_on_all_addresses_without_authentication_is_refused(
    home: Home, host: str
) -> None:
    message = refused(home, "--listen-host", host, "--port", "0", "--reverse-port", "0")
    assert "proxyauth" in message
    assert "--allow-open" in message


def test_empty_proxyauth_does_not_count_as_authentication(home: Home) -> None:
    ports = ("--port", "0", "--reverse-port", "0")
    assert "proxyauth" in refused(home, "--listen-host", "0.0.0.0", *ports, "--set", "proxyauth=")


def test_listen_host_of_another_machine_is_refused(home: Home) -> None:
    message = refused(home, "--listen-host", "192.0.2.1", "--allow-open", "--port", "0")
    assert "cannot listen on 192.0.2.1" in message


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--port", "off", "--reverse-port", "off"), "nothing to run"),
        (("--port", "7000", "--reverse-port", "7000"), "must differ"),
        (("--port", "70000"), "neither a port nor"),
        (("--port", "http"), "neither a port nor"),
        (("--set", "foo"), "--set foo: write it as NAME=VALUE"),
        (("--set", "aibridge_capture"), "write it as NAME=VALUE"),
        (("--set", "mode=socks5"), "--listen-host"),
        (("--set", "listen_host=0.0.0.0"), "--listen-host"),
    ],
)
def test_invalid_arguments_of_proxy_are_refused(
    home: Home, arguments: tuple[str, ...], why: str
) -> None:
    assert why in refused(home, *arguments)


FREE = ("--port", "0", "--reverse-port", "0", "--metrics", "off")


def test_mistake_in_the_config_file_stops_the_start(home: Home) -> None:
    home.config.write_text('[[providers]]\nname = "x"\ntipe = "openai"\n')
    assert "did you mean type?" in refused(home, *FREE, *home.options)
    assert not (home.data / "proxy.json").exists()


def test_unusable_database_stops_the_start(home: Home) -> None:
    nonsense = home.path / "nonsense.sqlite3"
    nonsense.write_text("this is no database, and long enough to be seen as none" * 20)
    message = refused(home, *FREE, *home.options, "--db", str(nonsense))
    assert "aibridge_db" in message
    assert "Traceback" not in message
    assert not (home.data / "proxy.json").exists()


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ("no_such_option=1", "unknown option"),
        ("http2=perhaps", "boolean must be"),
        ("proxyauth=nonsense", "Invalid proxyauth"),
        ("aibridge_retention_day=90", "did you mean aibridge_retention_days?"),
        ("aibridge_nonsense=1", "aibridge_nonsense is not known; see the options"),
    ],
)
def test_unknown_or_invalid_option_stops_the_start(home: Home, sets: str, why: str) -> None:
    assert why in refused(home, *FREE, *home.options, "--set", sets)


def test_invalid_config_yaml_stops_the_start(home: Home) -> None:
    folder = home.path / "confdir"
    folder.mkdir()
    (folder / "config.yaml").write_text("http2: [1")
    assert "config.yaml" in refused(home, *FREE, "--set", f"confdir={folder}")
    (folder / "config.yaml").write_text("http2: 5")
    assert "http2" in refused(home, *FREE, "--set", f"confdir={folder}")


def test_unusable_ca_stops_the_start(home: Home) -> None:
    folder = home.path / "confdir"
    folder.mkdir()
    (folder / "mitmproxy-ca.pem").write_text("nonsense")
    message = refused(home, *FREE, "--set", f"confdir={folder}")
    assert "mitmproxy-ca.pem contains no" in message


def test_misspelled_option_in_config_yaml_stops_the_start(home: Home) -> None:
    folder = home.path / "confdir"
    folder.mkdir()
    (folder / "config.yaml").write_text("aibridge_capure: prompts\n")
    assert "did you mean aibridge_capture?" in refused(home, *FREE, "--set", f"confdir={folder}")


def test_metrics_address_in_use_is_an_error(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = ("--port", "0", "--reverse-port", "0", "--metrics", f"127.0.0.1:{port}")
        message = refused(home, *ports, *home.options)
    assert f"port {port} on 127.0.0.1 is used by another program" in message
    assert "--metrics" in message


def test_default_metrics_address_in_use_disables_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(proxy_command, "METRICS", taken.getsockname())
        assert proxy_command._metrics_options(None) == ({}, {})
    defaults, flags = proxy_command._metrics_options(None)
    assert list(defaults) == ["aibridge_metrics_listen"]
    assert flags == {}


# Shutdown and reload


def test_sigterm_lets_an_open_stream_complete(home: Home, provider: Provider) -> None:
    process = home.start_proxy("--grace", "600")
    url = home.proxy().reverse_url
    assert url
    with new_client() as http:
        with open_stream_of(http, url, "GATE:graceful") as lines:
            process.send(SIGTERM)
            process.wait_for("ending")
            wait_until(lambda: not announcement.accepts_connections(url), "it still listens")
            assert not (home.data / "proxy.json").exists()
            provider.gate("graceful").open()
            assert "event: message_stop" in list(lines)
        # The client was not told that the connection would end: its next request must pass, too.
        last = http.post(f"{url}/anthropic/v1/messages", json=HELLO)
        assert (last.status_code, last.headers["connection"]) == (200, "close")
    assert process.wait() == 0, process.text
    rows = read_records(home.database).interceptions
    assert [row["status"] for row in rows] == ["completed", "completed"]


def test_client_of_http2_that_asks_without_a_pause_loses_no_request(home: Home) -> None:
    process = home.start_proxy("--grace", "600")
    url = str(home.proxy().reverse_url).replace("http:", "https:") + "/anthropic/v1/models"
    trust = ssl.create_default_context(cafile=home.confdir / "mitmproxy-ca-cert.pem")
    headers = {"x-api-key": ANTHROPIC_KEY}
    with httpx2.Client(
        http2=True, verify=trust, trust_env=False, timeout=TIMEOUT_S, headers=headers
    ) as client:
        answers = [client.get(url)]
        process.send(SIGTERM)
        with suppress(httpx2.ConnectError):  # its connection has ended, and the port is closed
            while answers[-1].status_code == 200:
                answers.append(client.get(url))
    assert {(each.http_version, each.status_code) for each in answers} == {("HTTP/2", 200)}
    assert process.wait() == 0, process.text


def test_shutdown_waits_for_the_response_in_a_websocket_and_not_for_its_client(
    home: Home, provider: Provider
) -> None:
    process = home.start_proxy("--grace", "600")
    port = urlsplit(home.proxy().reverse_url or "").port
    clients = Clients("", (), cast(Proxy, SimpleNamespace(reverse_port=port)))
    with Socket(clients, Way("reverse")) as codex:
        codex.request("GATE:socket")
        codex.event()
        process.send(SIGTERM)
        process.wait_for("ending")
        provider.gate("socket").open()
        *_, last = codex.events()
        assert process.wait() == 0, process.text
        with pytest.raises(LeftError):
            codex.event()
    assert last["type"] == "response.completed"
    assert read_records(home.database).interception["status"] == "completed"


def test_open_stream_is_ended_after_the_grace_period(home: Home) -> None:
    process = home.start_proxy("--grace", "0.1")
    with open_stream(str(home.proxy().reverse_url), "GATE:never"):
        assert process.stop() == 0, process.text
    row = read_records(home.database).interception
    assert row["status"] in ("interrupted", "cancelled")
    assert row["ended_at"]


def test_sighup_reloads_the_config_file_and_a_second_sigterm_ends_at_once(home: Home) -> None:
    process = home.start_proxy("--grace", "600", "--log-format", "json")
    url = str(home.proxy().reverse_url)
    process.send(SIGHUP)  # nothing has changed: only who is asked reads it again
    assert '"level": "info"' in process.wait_for("was read again")
    good = home.config.read_text()
    home.config.write_text("nonsense")
    process.send(SIGHUP)
    process.wait_for("the old settings stay")
    ask(url)
    home.config.write_text(good.replace('name = "anthropic"', 'name = "claude"'))
    process.send(SIGHUP)
    wait_until(lambda: process.text.count("was read again") >= 2, process.text)
    answer = httpx2.get(f"{url}/claude/v1/models", trust_env=False, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    home.config.write_text(good)
    process.send(SIGHUP)
    wait_until(lambda: process.text.count("was read again") >= 3, process.text)
    with open_stream(url, "GATE:never"):
        process.send(SIGTERM)
        process.wait_for("ending")
        assert process.stop() == 0, process.text


def test_draining_proxy_is_not_ready_and_still_accepts_requests(home: Home) -> None:
    address = f"127.0.0.1:{free_port()}"
    process = home.start_proxy("--metrics", address, "--drain", "60")
    url = home.proxy().reverse_url
    assert url

    def ready() -> int:
        return httpx2.get(f"http://{address}/readyz", trust_env=False).status_code

    assert ready() == 200
    process.send(SIGTERM)
    process.wait_for("not ready any more; closing the ports in 60 s")
    assert ready() == 503
    ask(url)
    assert process.stop() == 0, process.text  # the second signal ends it at once


def test_edited_config_file_is_reloaded_and_announced(
    home: Home,
) -> None:
    home.start_proxy()
    before = home.proxy()
    assert "another.test" not in before.hosts
    another = (
        '[[providers]]\nname = "another"\ntype = "openai"\nbase_url = "https://another.test"\n'
    )
    home.config.write_text(home.config.read_text() + another)
    wait_until(lambda: "another.test" in home.proxy().hosts, "the change is not announced")
    hosts = tuple(sorted((*before.hosts, "another.test")))
    assert home.proxy() == replace(before, hosts=hosts, providers=(*before.providers, "another"))


def test_announcement_of_a_dead_proxy_is_ignored(home: Home, shared: Home) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for left in (
        replace(shared.proxy(), pid=gone.pid),
        replace(shared.proxy(), forward_url=f"http://127.0.0.1:{free_port()}"),
    ):
        left.save(home.data / "proxy.json")
        assert not left.is_up
        result = home.invoke("env")
        assert result.exit_code == 1
        assert "no proxy is running" in result.stderr


def test_proxy_removes_only_its_own_announcement(shared: Home, tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    ours = shared.proxy()
    replace(ours, pid=1).save(path)
    ours.forget(path)
    assert path.exists()
    ours.save(path)
    ours.forget(path)
    assert not path.exists()


def test_invalid_announcement_is_ignored(home: Home, tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"pid": 1}', "nonsense"):
        path = tmp_path / "proxy.json"
        path.write_text(text)
        assert announcement.load(path) is None
