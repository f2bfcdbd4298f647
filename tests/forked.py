"""Starts Python programs as forks of a process that has imported their libraries before.

The imports of a proxy take two seconds of processor time, and the tests start hundreds. A forked
program is a process of its own, with its own arguments, environment, folder, output, signals
and exit code; only its interpreter and its imports are not new. Tests whose point they are start
the program with `subprocess`.

`fork_server.py` is that process; `fork_client.py` a program that others start in place of one.
"""

import atexit
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Protocol

from fork_messages import receive, send

FORK_SERVER = str(Path(__file__).with_name("fork_server.py"))
FORK_CLIENT = str(Path(__file__).with_name("fork_client.py"))
MCP_SERVER = Path(__file__).with_name("mcp_server.py")
MITMDUMP = Path(sys.executable).with_name("mitmdump")
AIBRIDGE = Path(sys.executable).with_name("aibridge")

_ADDON = (
    *("genai_prices.data", "sqlite_utils", "prometheus_client.core", "uuid_utils"),
    *("msgspec.json", "platformdirs", "tomllib"),
    *("mcp.client.streamable_http", "mcp.client.sse", "mcp.client.stdio", "pydantic.networks"),
    *("opentelemetry.context", "wsgiref.simple_server", "anyio._backends._asyncio"),
    *("aibridge_addon.addon", "aibridge_addon.config.file", "aibridge_addon.library_logs"),
    *("aibridge_addon.store.sqlite.recorder", "aibridge_addon.store.sqlite.store"),
    *("aibridge_addon.tools.servers", "aibridge_addon.views.content_views"),
    *("detect_secrets.plugins.*", "cryptography.hazmat.backends.openssl", "encodings.idna"),
    *("anyio._core._subprocesses", "httpcore2", "importlib.readers", "aibridge_addon.config.files"),
)
_IMPORTS: Mapping[str, Sequence[str]] = {
    "mitmdump": ("mitmproxy.tools.main", "mitmproxy.tools.dump", *_ADDON),
    "aibridge": (
        # This defers imports of the others, so it comes first.
        *("aibridge_addon.cli", "aibridge_addon.cli.proxy", "aibridge_addon.cli.serving"),
        *("aibridge_addon.cli.run", "aibridge_addon.cli.env", "aibridge_addon.cli.usage"),
        *_ADDON,
    ),
    "mcp_server.py": (
        "mcp.server.mcpserver",
        "mcp.server.runner",
        "uvicorn",
        "uvicorn.protocols.http.auto",
    ),
}
"""By the name of a program: what its starts import, in this order; `.*` means all of a package.

This package among them: no module of it may read its environment or make an id when it is imported.
"""


class Running(Protocol):
    """A process, as `subprocess` shows it."""

    pid: int
    returncode: int | None
    stdout: IO[str] | None

    def poll(self) -> int | None:
        """Return the exit code; None: it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""


def start(
    script: Path,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stderr: int = subprocess.STDOUT,
    session: bool = False,
    fork: bool = True,
) -> Running:
    """Start a program of `_IMPORTS` without input; its output can be read.

    Args:
        script: Its path, whose last part is its name.
        arguments: Its arguments.
        env: All of its environment variables.
        cwd: The folder that it runs in.
        stderr: `subprocess.STDOUT`, or the descriptor that errors go to.
        session: Make it the leader of a session of its own.
        fork: False starts an interpreter of its own, as where forks are not possible.
    """
    if fork and sys.platform == "linux" and not _needs_interpreter(env):
        return _server(script.name).start(
            [str(script), *arguments], env, cwd, stderr, session=session
        )
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        errors="replace",
        start_new_session=session,
    )


def start_mcp_server(*arguments: str) -> Running:
    """Start `mcp_server.py`, which writes errors where this process does."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return start(MCP_SERVER, arguments, env=env, cwd=Path.cwd(), stderr=2)


def command(script: Path) -> list[str]:
    """Return the words with which others start a program of `_IMPORTS`, with their arguments added.

    The process that they start waits for a fork that has its input, output and environment, passes
    signals on, and ends as the fork ends; the fork is killed with it.
    """
    is_measured = any(name.startswith("COVERAGE_PROCESS") for name in os.environ)
    if sys.platform == "linux" and not is_measured:
        address = _server(script.name).address
        return [sys.executable, "-I", "-S", FORK_CLIENT, address, str(script)]
    return [sys.executable, str(script)]


def _needs_interpreter(env: Mapping[str, str]) -> bool:
    """Return True for variables that an interpreter reads when it starts, as coverage's are."""
    read = re.compile(r"PYTHON(?!UNBUFFERED$|PATH$)|COVERAGE_PROCESS")
    return any(map(read.match, env))


class Forked:
    """A forked process, with the interface of `subprocess.Popen`."""

    def __init__(self, server: "ForkServer", pid: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.stdout: IO[str] | None = stdout
        self.returncode: int | None = None
        self._server = server
        self._ended = os.pidfd_open(pid)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code; None: it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code.

        Raises:
            subprocess.TimeoutExpired: it runs still.
        """
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
                self.returncode = self._server.exit_code(self.pid)
                os.close(self._ended)
            return self.returncode


@cache
def _server(program: str) -> "ForkServer":
    return ForkServer(_IMPORTS[program])


class ForkServer:
    """The process that forks, as its tests see it."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._socket, other = socket.socketpair()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")  # the system chooses an abstract address
        listener.listen()
        self.address = listener.getsockname()[1:].decode()
        """Address at which `fork_client.py` asks for forks."""
        self._lock = threading.Lock()
        descriptors = [other.fileno(), listener.fileno()]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [sys.executable, "-P", FORK_SERVER, *map(str, descriptors), *modules],
            env={**inherited, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
        other.close()
        listener.close()
        atexit.register(self.close)

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        stderr: int,
        *,
        session: bool = False,
    ) -> Forked:
        """Fork a process that runs a program."""
        reader, writer = os.pipe()
        request = {
            "arguments": list(arguments),
            "env": dict(env),
            "cwd": str(cwd),
            "session": session,
        }
        try:
            pid = self._ask(request, [writer, writer if stderr == subprocess.STDOUT else stderr])
        finally:
            os.close(writer)
        return Forked(self, pid, open(reader, errors="replace"))

    def exit_code(self, pid: int) -> int:
        """Return the exit code of a process that has ended."""
        return self._ask({"ended": pid})

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        with self._lock:
            send(self._socket, request, descriptors)
            answer, _ = receive(self._socket)
        assert answer is not None, "the process that forks has ended"
        return int(answer["number"])

    def close(self) -> None:
        """Kill the forks, and end."""
        self._socket.close()
        self._process.wait()
