"""The commands in the documentation work: each is run as written, but for ports and placeholders.

Commands that need something that a test must not touch or may not have (root, a container engine, a
client program, another machine) are listed with the reason.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import forked
import pytest
from cli.command import Home
from cli.conftest import confdir, home  # noqa: F401 fixtures
from e2e.conftest import authority, provider, standin  # noqa: F401 fixtures
from e2e.proxy import SCRIPT
from ports import free_port
from standin import Server

from docs.blocks import Block, blocks

NOT_RUN = {
    r"sudo|useradd": "needs root",
    r"podman": "needs a container engine",
    r"scripts/": "the tests are within: run by itself",
    r"uv tool|pipx|pip install|-m venv|bin/activate": "installs the package: scripts/release does",
    r"\b(claude|codex|opencode|aider|copilot|ollama|gemini|qwen)\b| code$": "run in tests/clients",
    r"\b(cline|cn)\b": "run in tests/clients",
    r"your_program": "a placeholder",
    r"mitmweb": "opens a browser",
    r"my_company": "needs a plugin of one's own: tests/extending has some",
    r"aibridge budget": "needs budgets in the config file: tests/e2e/test_budgets.py has some",
    r"sqlite3 -box": "interactive",
    r"db\.example\.com": "needs a server: tests/store/postgres has one",
    r"proxy\.example\.com|/etc/ssl/certs/ca-certificates|cp mitmproxy-ca": "for another machine",
    r"-m standin": "the test has a stand-in of its own",
}
SERVES = r"mitmdump .*--mode|aibridge (proxy|web)"
"""Commands that run until they are stopped."""

STARTED = {
    "aibridge proxy": "is up, process",
    "aibridge web": "The page shows",
    "mitmdump": "proxy listening",
}
"""Output of a server that has started."""

LOCKS = r"aibridge token"
"""Commands after which the proxy asks every client for an access token: they come last."""


def documented(*, serving: bool) -> Iterator[tuple[Block, str]]:
    for block in blocks("sh"):
        for command in block.commands:
            is_run = not any(re.search(pattern, command) for pattern in NOT_RUN)
            if is_run and bool(re.search(SERVES, command)) == serving:
                yield block, command


def serving_commands() -> list[object]:
    distinct = {command: block for block, command in documented(serving=True)}
    return [pytest.param(command, id=str(block)) for command, block in distinct.items()]


@pytest.fixture
def env(tmp_path: Path) -> Mapping[str, str]:
    """Variables with which a shell finds the programs that the documentation names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in {
        "aibridge": forked.command(forked.AIBRIDGE),
        "mitmdump": forked.command(forked.MITMDUMP),
        "python": [sys.executable],
    }.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)
    keys = {"ANTHROPIC_API_KEY": "sk-ant-test", "OPENAI_API_KEY": "sk-test"}
    return keys | {"PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin"}


def adapted(command: str, replaced: Mapping[str, object]) -> str:
    for documented_text, actual in replaced.items():
        command = command.replace(documented_text, str(actual))
    return command


@pytest.mark.e2e
def test_documented_commands_succeed_beside_a_running_proxy(
    home: Home,  # noqa: F811
    standin: Server,  # noqa: F811
    env: Mapping[str, str],
    tmp_path: Path,
) -> None:
    metrics = free_port()
    provider_table = (
        f'[[providers]]\nname = "standin"\ntype = "anthropic"\nbase_url = "{standin.origin}"\n'
    )
    home.config.write_text(home.config.read_text() + provider_table + "hosts = []\n")
    home.start_proxy("--metrics", f"127.0.0.1:{metrics}")
    proxy = home.proxy()
    replaced = {
        "http://127.0.0.1:8080": proxy.forward_url,
        "127.0.0.1:8080": str(proxy.forward_url).removeprefix("http://"),
        "http://127.0.0.1:8081": proxy.reverse_url,
        "127.0.0.1:9464": f"127.0.0.1:{metrics}",
        "~/.mitmproxy": home.confdir,
        "~/.local/share/aibridge": home.data,
        "~/aibridge-ca": tmp_path / "aibridge-ca",
        "-nr flows": "-nr /dev/null",
    }
    for block, command in sorted(
        documented(serving=False), key=lambda found: bool(re.search(LOCKS, found[1]))
    ):
        if any(name in command and not shutil.which(name) for name in ("sqlite3", "openssl")):
            continue
        done = home.shell(["bash", "-euc", adapted(command, replaced)], env=env)
        assert done.returncode == 0, f"{block}: {command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.e2e
@pytest.mark.parametrize("command", serving_commands())
def test_documented_server_starts(
    command: str,
    home: Home,  # noqa: F811
    env: Mapping[str, str],
) -> None:
    replaced = {
        "aibridge proxy": "aibridge proxy --port 0 --reverse-port 0 --metrics off",
        "aibridge web": "aibridge web --port 0",
        "0.0.0.0:8083": "0.0.0.0:0",
        "127.0.0.1:8083": "127.0.0.1:0",
        "aibridge_addon/__init__.py": SCRIPT,
        "127.0.0.1:8080": "127.0.0.1:0",
        "127.0.0.1:8081": f"127.0.0.1:{free_port()}",
        "127.0.0.1:9464": f"127.0.0.1:{free_port()}",
        "~/aibridge-ca": home.confdir,
        "=…": "=sk-test",
    }
    process = home.start_program(
        ["bash", "-euc", f"exec env {adapted(command, replaced)}"], env=env
    )
    process.wait_for(next(sign for word, sign in STARTED.items() if word in command))
    if "reverse:" in command:
        process.wait_for("reverse proxy to .* listening")
    assert process.stop() == 0, process.text
