"""Subjects of the benchmark: proxies, each a process with the same flags and route."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
START_S = 60.0
STOP_S = 20.0

_STREAM_SCRIPT = """\
def responseheaders(flow):
    flow.response.stream = True
"""

_CONFIG = """\
[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "{origin}"
hosts = ["127.0.0.1"]
{of_provider}

[[providers]]
name = "openai"
type = "openai"
base_url = "{origin}/v1"
hosts = ["localhost"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Folders and ports of a running proxy."""

    directory: Path
    """An empty folder of its own."""
    confdir: Path
    """mitmproxy's folder with the CA, shared by all subjects."""
    origin: str
    """Origin of the upstream; the addon takes `localhost` for OpenAI."""

    @property
    def database(self) -> Path:
        """Database of the addon."""
        return self.directory / "aibridge.sqlite3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A kind of proxy."""

    name: str
    command: Callable[[Place], list[str]]
    records: bool = False
    """True if every request must be in its database."""
    python_path: Path | None = None


def _mitmdump(place: Place, *more: str) -> list[str]:
    return [
        str(Path(sys.executable).with_name("mitmdump")),
        *("-q", "--mode", f"reverse:{place.origin}@127.0.0.1:0"),
        *("--set", "ssl_insecure=true"),
        *("--set", "flow_detail=0"),
        *("--set", "connection_strategy=lazy"),
        *("--set", f"confdir={place.confdir}"),
        *more,
    ]


def _streams(place: Place) -> list[str]:
    script = place.directory / "streams.py"
    script.write_text(_STREAM_SCRIPT)
    return _mitmdump(place, "-s", str(script))


def _addon(
    place: Place,
    checkout: Path = REPOSITORY,
    more_config: str = "",
    of_provider: str = "",
    capture: str = "prompts,tools,thoughts",
) -> list[str]:
    config = place.directory / "aibridge.toml"
    config.write_text(_CONFIG.format(origin=place.origin, of_provider=of_provider) + more_config)
    return _mitmdump(
        place,
        *("-s", str(checkout / "aibridge_addon" / "__init__.py")),
        *("--set", f"aibridge_config={config}"),
        *("--set", f"aibridge_db={place.database}"),
        *("--set", f"aibridge_capture={capture}"),
    )


_TOOLS = """\

[[mcp_servers]]
name = "bench"
command = {python}
args = [{script}]
"""


def _with_tools(place: Place) -> list[str]:
    script = Path(__file__).with_name("bench_tools.py")
    written = {"python": json.dumps(sys.executable), "script": json.dumps(str(script))}
    return _addon(place, more_config=_TOOLS.format(**written))


_SERVE = """\
import sys
from aibridge_addon.cli.logs import log_levels
from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.serving import serve

with log_levels(verbose=False):
    serve(Plan(modes=(sys.argv[1],), sets=tuple(sys.argv[2:])), on_up=lambda proxy: None)
"""


def _command(place: Place) -> list[str]:
    """Return the command of `aibridge proxy`, in the mode of all subjects."""
    words = _addon(place)
    mode = words[words.index("--mode") + 1]
    sets = [word for word in words if "=" in word and not word.startswith("flow_detail")]
    return [sys.executable, "-P", "-c", _SERVE, mode, *sets]


STREAMS = Subject(name="streams", command=_streams)
ADDON = Subject(name="addon", command=_addon, records=True)
COMMAND = Subject(name="aibridge proxy", command=_command, records=True)
FULL_CAPTURE = Subject(
    name="full capture", command=lambda place: _addon(place, capture="all"), records=True
)
_PRICES = """\

[[prices]]
match = "*"
input = 3
output = 15
cache_read = 0.3
cache_write = 3.75
"""
_BREAKER = "circuit_breaker = true"
_POLICIES = """\

[[budgets]]
name = "day"
usd = 1_000_000
credentials = ["byok", "centralized", "subscription"]

[[budgets]]
name = "all"
per = "total"
tokens = 1_000_000_000
window = "5h"
credentials = ["byok", "centralized", "subscription"]

[[limits]]
name = "people"
requests_per_minute = 1_000_000
input_tokens_per_minute = 1_000_000_000
output_tokens_per_minute = 1_000_000_000
open_requests = 100_000
queue = 100

[[model_rules]]
deny = ["forbidden-*"]
aliases = { nobody-asks-for-this = "other" }
max_output_tokens = 1_000_000

[identity]
revoked_actors = ["nobody"]
"""
WITH_PRICES = Subject(
    name="addon with prices",
    command=lambda place: _addon(place, more_config=_PRICES),
    records=True,
)
"""The model of the stand-in has no list price; models that people use have one."""
WITH_POLICIES = Subject(
    name="all policies",
    command=lambda place: _addon(place, more_config=_POLICIES + _PRICES, of_provider=_BREAKER),
    records=True,
)
WITH_TOOLS = Subject(name="with tools", command=_with_tools, records=True)


def other_checkout(checkout: Path) -> Subject:
    """Return the addon of another checkout as a subject."""
    return Subject(
        name=f"addon of {checkout.name}",
        command=lambda place: _addon(place, checkout),
        records=True,
        python_path=checkout,
    )


class Proxy:
    """A running proxy."""

    def __init__(self, subject: Subject, place: Place) -> None:
        self.subject = subject
        self.database = place.database
        self._process = subprocess.Popen(
            subject.command(place),
            env=_environment(subject, place),
            cwd=place.directory,
            stdin=subprocess.DEVNULL,
        )
        self._ps = psutil.Process(self._process.pid)
        self.port = 0

    async def wait_until_up(self) -> None:
        """Wait for the port, which the system chooses.

        Raises:
            RuntimeError: the process did not come up; stderr has the reason.
        """
        deadline = time.monotonic() + START_S
        while not self.port:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.subject.name} did not come up")
            await asyncio.sleep(0.05)
            listening = [c for c in self._ps.net_connections("tcp4") if c.status == "LISTEN"]
            self.port = listening[0].laddr.port if listening else 0

    def cpu_seconds(self) -> float:
        """Return the CPU time so far, user and system, of all threads."""
        if sys.platform == "linux":
            # What clock_getcpuclockid(3) returns: in nanoseconds, where psutil has ticks of 10 ms.
            return time.clock_gettime((~self._process.pid << 3) | 2)
        times = self._ps.cpu_times()
        return times.user + times.system

    def memory_kib(self) -> float:
        """Return the memory that is this process's alone (USS)."""
        return self._ps.memory_full_info().uss / 1024

    def stop(self) -> None:
        """Stop the process."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the upstream."""

    plain: int
    tls: int


@contextmanager
def upstream() -> Iterator[Ports]:
    """Run the upstream; yield its ports."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("bench_upstream.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield Ports(*map(int, process.stdout.readline().split()))
    finally:
        process.stdin.close()
        process.wait(STOP_S)


def _environment(subject: Subject, place: Place) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not re.match(r"(?i)(.*_proxy|ANTHROPIC_.*|OPENAI_.*|PYTHON.*|AIBRIDGE_.*)$", name)
    }
    # The same seed for all: else the layout of dicts is another one in each process.
    mine = {"HOME": str(place.directory), "PYTHONHASHSEED": "0"}
    if subject.python_path:
        mine["PYTHONPATH"] = str(subject.python_path)
    return inherited | mine
