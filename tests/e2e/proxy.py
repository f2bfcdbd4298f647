"""A real `mitmdump` with the addon, as a process: forward and reverse proxy at once.

Its ports are the system's choice and read from its log, so any number may run side by side. Every
wait is bounded and says, when it fails, what the process had logged.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import forked
from ports import free_port

from e2e.records import Condition, Records, latest_id, read_records

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "aibridge_addon" / "__init__.py"

START_S = 60.0
STOP_S = 40.0
RECORD_S = 30.0
"""For records that come without the client having seen the end of a response."""

_LISTENING = re.compile(r"(HTTP\(S\) proxy|reverse proxy to \S+) listening at \S*?:(\d+)")
_FAULT = re.compile(r"Traceback \(most recent call last\)|Addon error|\[error\]")

_OWN_VARIABLES = re.compile(r"(?i)(.*_proxy|ANTHROPIC_.*|OPENAI_.*|PYTHON.*|AIBRIDGE_.*|XDG_.*)$")
"""Variables of this process that a proxy must not inherit."""

# Two spellings of one address: mitmproxy takes the same host with port 0 twice for one address.
_FORWARD_MODE = "regular@127.0.0.1:0"
_REVERSE_MODE = "reverse:http://127.0.0.1:1@127.1:0"


def config_toml(origin: str) -> str:
    """Return a config file that puts a stand-in in the place of both providers."""
    return f"""\
[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "{origin}"
hosts = ["api.anthropic.com"]
api_key_env = "ANTHROPIC_API_KEY"
price_as = "anthropic"

[[providers]]
name = "openai"
type = "openai"
base_url = "{origin}/v1"
hosts = ["api.openai.com"]
api_key_env = "OPENAI_API_KEY"
price_as = "openai"
"""


class Proxy:
    """One `mitmdump` process after another, with one database and one configuration."""

    def __init__(
        self,
        directory: Path,
        *,
        config: str,
        confdir: Path,
        upstream_ca: Path | None = None,
        options: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        metrics: bool = False,
        script: Path | None = SCRIPT,
        fork: bool = True,
    ) -> None:
        """Prepare in an empty directory.

        Args:
            directory: Where config file and database go.
            config: The config file, TOML.
            confdir: mitmproxy's, with its CA.
            upstream_ca: What the proxy trusts upstream.
            options: More of mitmproxy's options, ours included.
            env: More environment variables for the process.
            metrics: Whether to serve metrics.
            script: The addon; None for a bare mitmdump.
            fork: Start it as a fork; False: as an interpreter of its own, as operators do.
        """
        self.directory = directory
        self.config_path = directory / "aibridge.toml"
        self.config_path.write_text(config)
        self.database = directory / "aibridge.sqlite3"
        self.confdir = confdir
        self.log: list[str] = []
        """Every line of every process so far, stdout and stderr."""
        self.forward_port = 0
        self.reverse_port = 0
        self.metrics_port: int | None = None
        self.process: forked.Running | None = None
        self._script = script
        self._fork = fork
        self._env = dict(env or {})
        self._metrics = metrics
        self._options: dict[str, Any] = {
            "confdir": confdir,
            "connection_strategy": "lazy",
            "flow_detail": 0,
        }
        if upstream_ca:
            self._options["ssl_verify_upstream_trusted_ca"] = upstream_ca
        if script:
            self._options |= {"aibridge_config": self.config_path, "aibridge_db": self.database}
            if "TEST_DIRECT" in os.environ:
                self._options["aibridge_direct"] = os.environ["TEST_DIRECT"]
        self._options |= options or {}
        self._changed = threading.Condition()
        self._readers: list[threading.Thread] = []

    # --- the process

    def start(self) -> Self:
        """Start, and return once both ports are listened on.

        Raises:
            RuntimeError: it ended or did not come up; with its log.
        """
        for attempt in range(3):
            try:
                return self._start()
            except RuntimeError:
                # Only the metrics port is chosen by us, so only it can have been taken meanwhile.
                if not self._metrics or attempt == 2 or "in use" not in "\n".join(self.log):
                    raise
        raise AssertionError

    def _start(self) -> Self:
        mark = len(self.log)
        self.process = forked.start(
            forked.MITMDUMP,
            self._arguments(),
            env=self._environment(),
            cwd=self.directory,
            fork=self._fork,
        )
        reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        reader.start()
        self._readers.append(reader)
        try:
            ports = self._wait_for_log(lambda: self._ports(mark), START_S, "both ports")
            if self._script:
                # mitmproxy listens a moment before it tells its addons that it runs.
                self.wait_for_log("aibridge: recording", mark, START_S)
        except TimeoutError:
            self.kill()
            raise RuntimeError(f"mitmdump did not come up:\n{self.log_text(mark)}") from None
        self.forward_port, self.reverse_port = ports
        return self

    def stop(self) -> int:
        """Send SIGTERM and wait for the end; return the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Send SIGKILL: what a crash or the OOM killer does."""
        return self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Start again with the same database; the ports are new ones."""
        if self.running:
            self.stop()
        return self.start()

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def _end(self, number: signal.Signals) -> int:
        process = self.process
        assert process is not None
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
            raise RuntimeError(
                f"mitmdump did not end on {number.name}:\n{self.log_text()}"
            ) from None
        for reader in self._readers:
            reader.join(STOP_S)
        self._readers.clear()
        return code

    def _arguments(self) -> list[str]:
        options = dict(self._options)
        if self._metrics:
            self.metrics_port = free_port()
            options["aibridge_metrics_listen"] = f"127.0.0.1:{self.metrics_port}"
        arguments = ["--mode", _FORWARD_MODE, "--mode", _REVERSE_MODE]
        if self._script:
            arguments += ["-s", str(self._script)]
        for name, value in options.items():
            arguments += ["--set", f"{name}={_option(value)}"]
        return arguments

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not re.match(
                r"(?i)(.*_proxy|ANTHROPIC_.*|OPENAI_.*|PYTHON.*|AIBRIDGE_.*|XDG_.*)$", name
            )
        }
        return {**inherited, "HOME": str(self.directory), "PYTHONUNBUFFERED": "1", **self._env}

    # --- the log

    def log_text(self, mark: int = 0) -> str:
        """Return the log from a line on."""
        return "\n".join(self.log[mark:])

    def faults(self, mark: int = 0) -> str:
        """Return the log from a line on if it has a traceback or an error, else nothing."""
        text = self.log_text(mark)
        return text if _FAULT.search(text) else ""

    def wait_for_log(self, pattern: str, mark: int = 0, timeout_s: float = RECORD_S) -> str:
        """Wait for a line that matches; return it.

        Raises:
            TimeoutError: there was none.
        """
        expression = re.compile(pattern)
        return self._wait_for_log(
            lambda: next(filter(expression.search, self.log[mark:]), None), timeout_s, pattern
        )

    def _wait_for_log[T](self, find: Callable[[], T | None], timeout_s: float, what: str) -> T:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (found := find()) is None:
                alive = any(reader.is_alive() for reader in self._readers)
                left = deadline - time.monotonic()
                if left <= 0 or not alive:
                    raise TimeoutError(f"no {what} in the log:\n{self.log_text()}")
                self._changed.wait(min(left, 1.0))
            return found

    def _ports(self, mark: int) -> tuple[int, int] | None:
        matches = [match for line in self.log[mark:] if (match := _LISTENING.search(line))]
        ports = {match[1][:7]: int(match[2]) for match in matches}
        return (ports["HTTP(S)"], ports["reverse"]) if len(ports) == 2 else None

    def _read(self, process: forked.Running) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with self._changed:
                    self.log.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    # --- the records

    @property
    def records(self) -> Records:
        """All that is recorded."""
        return read_records(self.database)

    @contextmanager
    def recording(self) -> Iterator[Records]:
        """Give the rows that are added while the block runs, once it has ended.

        What the client has seen the end of must be there at once: this does not wait.
        """
        before = latest_id(self.database)
        records = Records()
        yield records
        _fill(records, read_records(self.database, before))

    def wait_for_records(
        self, condition: Condition, *, after: str = "", timeout_s: float = RECORD_S
    ) -> Records:
        """Wait for records of what no client sees the end of (it left; an upstream broke).

        Raises:
            TimeoutError: the condition did not come to hold.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            records = read_records(self.database, after)
            if condition(records):
                return records
            if time.monotonic() > deadline:
                raise TimeoutError(f"not recorded: {records}\n{self.log_text()}")
            # Another process writes: nothing to wait on but time.
            threading.Event().wait(0.02)

    def mark(self) -> str:
        """Return what `wait_for_records(after=…)` takes for 'from now on'."""
        return latest_id(self.database)

    # --- addresses

    @property
    def forward_url(self) -> str:
        """Value for `HTTPS_PROXY`."""
        return f"http://127.0.0.1:{self.forward_port}"

    @property
    def reverse_url(self) -> str:
        """Beginning of base URLs."""
        return f"http://127.0.0.1:{self.reverse_port}"

    @property
    def ca_path(self) -> Path:
        """Certificate that clients must trust."""
        return self.confdir / "mitmproxy-ca-cert.pem"


def _fill(records: Records, found: Records) -> None:
    for name in Records.__slots__:
        getattr(records, name).extend(getattr(found, name))


def _option(value: Any) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    return str(value)
