"""Runs the `aibridge` command with a home folder of its own: data folder, CA, configuration.

Every wait is bounded; a failed wait shows the output of the process.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import forked
from click.testing import CliRunner, Result
from e2e.proxy import config_toml

from aibridge_addon.cli import main
from aibridge_addon.observe.announcement import RunningProxy, load
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS

AIBRIDGE = (sys.executable, "-P", "-m", "aibridge_addon.cli")
WAIT_S = 60.0
"""Time limit for quick operations on a busy machine."""

_FOREIGN = r"(?i)(.*_proxy|ANTHROPIC_.*|OPENAI_.*|PYTHON.*|AIBRIDGE_.*|SSL_.*|.*CA_.*|XDG_.*)$"


class Process:
    """A process whose output is read continuously."""

    def __init__(self, process: forked.Running) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def of(cls, command: list[str], env: Mapping[str, str], **options: Any) -> Self:
        """Start a program."""
        return cls(
            subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **options,
            )
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def text(self) -> str:
        """Its output so far."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> str:
        """Return the first line that matches a pattern; fail if the process ends without it."""
        deadline = time.monotonic() + WAIT_S
        with self._changed:
            while (line := next((x for x in self.lines if re.search(pattern, x)), None)) is None:
                left = deadline - time.monotonic()
                waits = left > 0 and self._reader.is_alive()
                assert waits, f"no {pattern!r} in:\n{self.text}"
                self._changed.wait(min(left, 1.0))
            return line

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the process; return its exit code."""
        try:
            code = self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end:\n{self.text}") from None
        self._reader.join(WAIT_S)
        return code

    def stop(self) -> int:
        """Send SIGTERM, and wait."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill the process if it is still running."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(WAIT_S)

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _other_providers(origin: str) -> str:
    """Return config that sends the other default providers to the stand-in as well."""
    return "".join(
        f'[[providers]]\nname = "{provider.name}"\ntype = "{provider.type}"\n'
        f'base_url = "{origin}{provider.base_path}"\nhosts = {json.dumps(sorted(provider.hosts))}\n'
        for provider in DEFAULT_PROVIDERS
        if provider.name not in ("anthropic", "openai")
    )


class Home:
    """Home folder of a user, shared by all commands that run in it."""

    def __init__(self, path: Path, *, origin: str, confdir: Path, upstream_ca: Path) -> None:
        self.path = path
        self.data = path / "data" / "aibridge"
        self.database = self.data / "aibridge.sqlite3"
        self.config = path / "aibridge.toml"
        self.config.write_text(config_toml(origin) + _other_providers(origin))
        self.confdir = confdir
        self.options = (
            *("--config", str(self.config)),
            *("--set", f"confdir={confdir}"),
            *("--set", f"ssl_verify_upstream_trusted_ca={upstream_ca}"),
        )
        self.processes: list[Process] = []

    @property
    def env(self) -> dict[str, str]:
        """Its environment variables."""
        inherited = {k: v for k, v in os.environ.items() if not re.match(_FOREIGN, k)}
        here = {
            "HOME": str(self.path),
            "XDG_DATA_HOME": str(self.path / "data"),
            "PYTHONUNBUFFERED": "1",
            "SHELL": "/bin/sh",
        }
        return inherited | here

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> Process:
        """Start `aibridge`, with the options of `forked.start`."""
        env = self.env | dict(env or {})
        process = forked.start(forked.AIBRIDGE, arguments, env=env, cwd=self.path, **options)
        return self._added(Process(process))

    def start_program(
        self, words: list[str], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> Process:
        """Start a program, with the options of `subprocess.Popen`."""
        return self._added(Process.of(words, self.env | dict(env or {}), cwd=self.path, **options))

    def _added(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    def start_proxy(self, *arguments: str, **options: Any) -> Process:
        """Start `aibridge proxy` on free ports; return once it is up."""
        words = ("--port", "0", "--reverse-port", "0", "--metrics", "off", *self.options)
        process = self.start("proxy", *words, *arguments, **options)
        process.wait_for("is up, process")
        if "--workers" in arguments and arguments[arguments.index("--workers") + 1] != "1":
            process.wait_for(r"all \d+ workers are up")
        return process

    def proxy(self) -> RunningProxy:
        """Return the announcement of the running proxy."""
        found = load(self.data / "proxy.json")
        assert found
        return found

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `aibridge` to its end."""
        with tempfile.TemporaryFile("w+") as errors:
            process = forked.start(
                forked.AIBRIDGE,
                arguments,
                env=self.env | dict(env or {}),
                cwd=self.path,
                stderr=errors.fileno(),
            )
            assert process.stdout
            with process.stdout as lines:
                text = lines.read()
            code = process.wait(WAIT_S)
            errors.seek(0)
            return subprocess.CompletedProcess(arguments, code, text, errors.read())

    def shell(
        self, words: list[str], *, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end."""
        return subprocess.run(
            words,
            env=self.env | dict(env or {}),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def invoke(
        self, *arguments: str, env: Mapping[str, str | None] | None = None, text: str | None = None
    ) -> Result:
        """Run `aibridge` in this process, with `text` as its input."""
        cleared: dict[str, str | None] = {k: None for k in os.environ if re.match(_FOREIGN, k)}
        wide = {"COLUMNS": "300"}
        runner = CliRunner(env=cleared | dict(self.env) | wide | dict(env or {}))
        return runner.invoke(main, list(arguments), input=text, prog_name="aibridge")


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_S) -> None:
    """Wait for a condition that another process makes true; `what` is the failure message."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)
