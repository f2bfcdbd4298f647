"""Config files that are edited while the proxy runs: changes take effect, mistakes do not."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from locks import locked
from standin import Provider, Server

from e2e.asking import APIS, user
from e2e.central import (
    FORWARD,
    REVERSE,
    SUM,
    SUM_LINE,
    Central,
    Report,
    ToolServer,
    program,
    wait_for_servers,
)
from e2e.clients import Clients
from e2e.conftest import StartProxy
from e2e.metrics import metric, metrics_text
from e2e.proxy import START_S, Proxy, config_toml
from e2e.tables import server_toml
from e2e.wire_formats import reader_of

MESSAGES, CHAT, RESPONSES = APIS

TAKEN = "the configuration was read again"
NOT_TAKEN = "the old settings stay: "
TOKEN = "tok-r4r4r4r4r4r4r4r4r4r4"

type CentralOf = Callable[[Proxy], Central]


@pytest.fixture
def central_of(
    clients_of: Callable[[Proxy], Clients], provider: Provider, standin: Server
) -> Iterator[CentralOf]:
    """Send requests through a proxy, and check that the provider receives legal ones only."""
    made: list[Central] = []

    def central(proxy: Proxy) -> Central:
        made.append(Central(proxy, clients_of(proxy), provider, standin))
        return made[-1]

    yield central
    for one in made:
        one.check()


@pytest.fixture
def report(tmp_path: Path) -> Iterator[Report]:
    """Control a call of the tool `slow`."""
    made = Report(tmp_path / "slow")
    yield made
    made.close()


def edit(proxy: Proxy, text: str, *started: str) -> None:
    """Write the config file; wait until it is read and the servers that it starts are up."""
    mark = len(proxy.log)
    proxy.config_path.write_text(text)
    proxy.wait_for_log(TAKEN, mark, START_S)
    wait_for_servers(proxy, *started, mark=mark)


def offered(central: Central) -> list[str]:
    """Send a request; return the tools that the provider receives."""
    central.see(MESSAGES, REVERSE, "hi")
    return [tool["name"] for tool in central.received[-1].get("tools", [])]


def calc(**keys: object) -> str:
    """Return the config of a server with one tool."""
    return server_toml("calc", **program(), **{"allow": "^add$", **keys})


# --- MCP servers


def test_added_mcp_server_is_offered_and_removed_one_is_not(
    start_proxy: StartProxy, central_of: CentralOf, standin: Server
) -> None:
    proxy = start_proxy(metrics=True)
    central = central_of(proxy)
    without = config_toml(standin.origin)
    assert offered(central) == []
    assert "aibridge_mcp_server_up{" not in metrics_text(proxy)

    edit(proxy, without + calc(), "calc")
    assert offered(central) == ["bmcp_calc_add"]
    assert central.ask(MESSAGES, FORWARD, SUM, stream=True).text.endswith("The tool returned: 42")
    assert metric(proxy, "aibridge_mcp_server_up", server="calc") == 1
    assert metric(proxy, "aibridge_mcp_server_tools", server="calc") == 1

    edit(proxy, without + calc(allow="^echo$"), "calc")
    assert offered(central) == ["bmcp_calc_echo"]

    edit(proxy, without)
    assert offered(central) == []
    assert "aibridge_mcp_server_up{" not in metrics_text(proxy)

    edit(proxy, without + calc(), "calc")
    assert offered(central) == ["bmcp_calc_add"]


def test_changed_mcp_servers_file_is_read_with_environment_variables(
    start_proxy: StartProxy, central_of: CentralOf, tmp_path: Path
) -> None:
    server = ToolServer("http", "--token", TOKEN)
    entry = {"url": server.url, "headers": {"Authorization": "Bearer ${TOOL_TOKEN}"}}
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {}}))
    proxy = start_proxy(options={"aibridge_mcp_config": path}, env={"TOOL_TOKEN": TOKEN})
    central = central_of(proxy)
    assert offered(central) == []

    replacement = path.with_name("replacement.json")
    replacement.write_text(json.dumps({"mcpServers": {"locked": entry}}))
    mark = len(proxy.log)
    replacement.replace(path)  # as many editors do it
    proxy.wait_for_log(TAKEN, mark, START_S)
    wait_for_servers(proxy, "locked", mark=mark)

    assert "bmcp_locked_add" in offered(central)
    assert TOKEN not in proxy.log_text()
    server.stop()


def test_running_tool_call_of_a_removed_mcp_server_completes(
    start_proxy: StartProxy, central_of: CentralOf, standin: Server, report: Report
) -> None:
    proxy = start_proxy(servers={"calc": program() | {"allow": "^slow$"}})
    central = central_of(proxy)
    prompt = f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments} SAY:Moment"
    with central.asking(MESSAGES, FORWARD, prompt, stream=True) as response:
        chunks = response.iter_raw()
        got = next(chunks)
        report.wait_for("started")
        edit(proxy, config_toml(standin.origin))
        assert offered(central) == []
        report.release()
        got += b"".join(chunks)
    story = reader_of(MESSAGES).streamed_story(got)
    assert story.lines[-1].endswith("The tool returned: done")


def test_changed_injection_limits_take_effect(
    start_proxy: StartProxy, central_of: CentralOf, standin: Server
) -> None:
    config = config_toml(standin.origin) + calc()
    proxy = start_proxy(config=config)
    wait_for_servers(proxy, "calc")
    central = central_of(proxy)
    assert offered(central) == ["bmcp_calc_add"]
    mark = len(proxy.log)
    edit(proxy, config + '\n[injection]\nmodels = ["gpt-*"]\n')
    assert offered(central) == []
    assert "MCP server" not in proxy.log_text(mark), "it stays connected"


@pytest.mark.may_log_errors
def test_hidden_turns_survive_a_reload_without_the_database(
    start_proxy: StartProxy, central_of: CentralOf, standin: Server
) -> None:
    config = config_toml(standin.origin) + calc()
    proxy = start_proxy(config=config)
    wait_for_servers(proxy, "calc")
    central = central_of(proxy)
    with locked(proxy.database):
        first = central.ask(MESSAGES, FORWARD, SUM)
        edit(proxy, f"{config}\n# as before\n")
        central.ask(MESSAGES, FORWARD, [user(SUM), *first.turn, user("And now?")])
    assert SUM_LINE in central.transcripts(MESSAGES)[-1]


def test_mcp_package_is_imported_when_the_first_server_is_configured(
    start_proxy: StartProxy, standin: Server
) -> None:
    proxy = start_proxy(env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = re.compile(r"^import time: .*\| +mcp$", re.MULTILINE)
    config = config_toml(standin.origin)
    edit(proxy, f"{config}\n# the same")
    assert not loaded.search(proxy.log_text())
    edit(proxy, config + calc(), "calc")
    assert loaded.search(proxy.log_text())


# --- providers


def test_changed_providers_actors_and_prices_take_effect(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy()
    config = config_toml(standin.origin)
    more = f"""
[[providers]]
name = "another"
type = "anthropic"
base_url = "{standin.origin}"
hosts = []

[[actors]]
match = "alice@laptop"
id = "alice"

[[prices]]
match = "*"
seller = "another"
{"".join(f"{name} = 1\n" for name in ("input", "output", "cache_read", "cache_write"))}"""

    def ask() -> tuple[int, str, str]:
        with clients_of(proxy).http(REVERSE) as client, proxy.recording() as records:
            url = f"{proxy.reverse_url}/another/v1/messages"
            headers = {"x-aibridge-actor": "alice@laptop", "x-api-key": "k"}
            status = client.post(url, json=MESSAGES.body("hi"), headers=headers).status_code
        actors = "".join(row["initiator_id"] for row in records.interceptions)
        return status, actors, "".join(row["price_source"] for row in records.token_usages)

    assert ask() == (404, "", "")
    edit(proxy, config + more)
    assert ask() == (200, "alice", "config file, *, always")
    edit(proxy, config)
    assert ask() == (404, "", "")


# --- mistakes


MISTAKES: list[tuple[str | None, list[str]]] = [
    ("[[providers", ["aibridge_config .* is not TOML"]),
    (
        '[[providers]]\nname = "x"\ntipe = "openai"\n[[mcp_servers]]\nname = "UP"\n',
        [r"providers\[0\].tipe is not known; did you mean type\?", r"mcp_servers\[0\].name"],
    ),
    (server_toml("calc", url="https://${NOT_SET}/"), ["the environment has no NOT_SET"]),
    (None, ["aibridge_config .* No such file or directory"]),
]
"""Config files, None for a deleted one, and the errors that name their mistakes."""


@pytest.mark.may_log_errors
def test_mistake_in_a_changed_file_is_logged_once_and_the_old_settings_stay(
    start_proxy: StartProxy, central_of: CentralOf, standin: Server
) -> None:
    good = config_toml(standin.origin) + calc()
    proxy = start_proxy(config=good)
    wait_for_servers(proxy, "calc")
    central = central_of(proxy)
    start = len(proxy.log)
    for broken, lines in MISTAKES:
        mark = len(proxy.log)
        if broken is None:
            proxy.config_path.unlink()
        else:
            proxy.config_path.write_text(broken)
        for line in lines:
            proxy.wait_for_log(f"{NOT_TAKEN}.*{line}", mark)
        assert offered(central) == ["bmcp_calc_add"]
    assert central.ask(MESSAGES, FORWARD, SUM).text.endswith("The tool returned: 42")
    assert TAKEN not in proxy.log_text(start)
    assert not [line for line in proxy.log[start:] if "MCP server calc" in line]

    edit(proxy, good.replace('"^add$"', '"^echo$"'), "calc")
    assert offered(central) == ["bmcp_calc_echo"]
    mistakes = [line for line in proxy.log[start:] if NOT_TAKEN in line]
    messages = {line.partition("] ")[2] for line in mistakes}
    assert len(messages) == len(mistakes) >= sum(len(lines) for _, lines in MISTAKES)
