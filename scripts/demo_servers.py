"""Servers of the demo: the stand-in provider, an MCP server, and the proxy; and a client of it."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[1]
ADDON = ROOT / "aibridge_addon" / "__init__.py"
TOOLS = ROOT / "scripts" / "demo_tools.py"
BIN = Path(sys.executable).parent
START_SECONDS = 30
CONFIG = """\
[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "{origin}"
hosts = ["api.anthropic.com"]
price_as = "anthropic"

[[providers]]
name = "openai"
type = "openai"
base_url = "{origin}/v1"
hosts = ["api.openai.com"]
price_as = "openai"

[[providers]]
name = "gemini"
type = "gemini"
base_url = "{origin}"
hosts = ["generativelanguage.googleapis.com"]
price_as = "google"

[[mcp_servers]]
name = "weather"
url = "{weather}"
allow = "^forecast$"

[[mcp_servers]]
name = "money"
command = "{python}"
args = ["{tools}", "stdio"]
allow = "^exchange_rate$"
"""


@contextlib.contextmanager
def process(
    command: Sequence[str | Path], folder: Path, **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program while the block runs; its log goes to a file with its name."""
    name = Path(command[0]).name
    with (folder / f"{name}.log").open("w") as log:
        running = subprocess.Popen(command, stderr=log, **options)
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


@contextlib.contextmanager
def stand_in(folder: Path) -> Iterator[dict[str, str]]:
    """Run the stand-in; yield its `origin` and the path of its `ca`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    command: list[str | Path] = [sys.executable, "-m", "standin", "--tls", "--ca-dir", folder]
    with process(command, folder, stdout=subprocess.PIPE, env=environment) as running:
        assert running.stdout
        yield json.loads(running.stdout.readline())


@contextlib.contextmanager
def mcp_server(folder: Path) -> Iterator[str]:
    """Run the MCP server over HTTP; yield its URL."""
    with process([sys.executable, TOOLS, "http"], folder, stdout=subprocess.PIPE) as running:
        assert running.stdout
        yield running.stdout.readline().decode().strip()


@contextlib.contextmanager
def proxy(folder: Path, provider: dict[str, str], weather: str) -> Iterator[tuple[str, str]]:
    """Run mitmdump with the addon; yield the URLs of the forward and of the reverse proxy."""
    config, python = folder / "aibridge.toml", os.path.relpath(sys.executable, ROOT)
    config.write_text(
        CONFIG.format(**provider, weather=weather, python=python, tools=TOOLS.relative_to(ROOT))
    )
    forward, reverse = free_port(), free_port()
    options = {
        "confdir": folder / "mitmproxy",
        "ssl_verify_upstream_trusted_ca": provider["ca"],
        "aibridge_config": config,
        "aibridge_db": folder / "aibridge.sqlite3",
        "aibridge_capture": "all",
    }
    command: list[str | Path] = [
        *(BIN / "mitmdump", "-s", ADDON),
        *("--mode", f"regular@127.0.0.1:{forward}"),
        *("--mode", f"reverse:https://api.anthropic.com@127.0.0.1:{reverse}"),
        *(word for name, value in options.items() for word in ("--set", f"{name}={value}")),
    ]
    log = (folder / "mitmdump.out").open("w")
    with log, process(command, folder, stdout=log, cwd=ROOT) as running:
        for port in (forward, reverse):
            wait_for(port, running, folder)
        yield f"http://127.0.0.1:{forward}", f"http://127.0.0.1:{reverse}"


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, running: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Wait until a port accepts connections; exit with the log otherwise."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and running.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    logs = "\n".join(file.read_text() for file in sorted(folder.glob("mitmdump.*")))
    sys.exit(f"mitmdump did not start. Its log:\n{logs}")


def http_client(forward: str, folder: Path, actor: str = "alice") -> httpx2.Client:
    """Return a client with the settings that HTTPS_PROXY and SSL_CERT_FILE would have."""
    return httpx2.Client(proxy=forward, verify=trust(folder), headers={"X-AIBridge-Actor": actor})


def trust(folder: Path) -> ssl.SSLContext:
    """Return a context that trusts the proxy."""
    return ssl.create_default_context(cafile=folder / "mitmproxy" / "mitmproxy-ca-cert.pem")
