"""Places to run programs: with the variables of `aibridge env`, or through `aibridge run`.

The variables come from the table of client programs, which these tests prove as well. Every program
gets a home folder of its own and nothing else of this environment.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from e2e.proxy import Proxy
from e2e.records import Records, latest_id, read_records

from aibridge_addon.cli import client_setup
from aibridge_addon.providers import clients

type Mode = Literal["forward", "reverse"]

RUN_S = 90.0
"""Time limit of a program on a busy machine."""

_SYSTEM = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class Ran:
    """Exit code and output of a program."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Place(ABC):
    """A home folder with a working directory."""

    home: Path
    commands: ClassVar[tuple[Path, ...]] = ()
    """Folders to prepend to the PATH."""

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.home / "work"

    def run(
        self,
        command: Sequence[str | Path],
        *,
        mode: Mode | None,
        client: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = RUN_S,
    ) -> Ran:
        """Run a program to its end.

        Args:
            command: The program and its arguments.
            mode: The kind of proxy that it uses; None: no proxy.
            client: Its name for `aibridge env`.
            env: Further variables.
            timeout_s: Time after which it is killed, and the test fails.
        """
        words, variables = self.prepare([str(word) for word in command], client, mode)
        return self.run_plainly(words, env=variables | dict(env or {}), timeout_s=timeout_s)

    def run_plainly(
        self, words: Sequence[str], *, env: Mapping[str, str], timeout_s: float = RUN_S
    ) -> Ran:
        """Run a command unchanged, to its end."""
        self.work.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            words,
            env={**self.environ, **env},
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"not within {timeout_s} s: {words}\n{Ran(-9, out, err)}")
        ran = Ran(process.returncode, out, err)
        print(f"--- {shlex.join(words)[:200]}\n{ran}")
        return ran

    @property
    def environ(self) -> dict[str, str]:
        """Environment of every program in this place."""
        node = [Path(found).parent for found in (shutil.which("node"),) if found]
        return {
            "PATH": os.pathsep.join([*map(str, (*self.commands, *node)), *_SYSTEM]),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    @abstractmethod
    def prepare(
        self, words: list[str], client: str, mode: Mode | None
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command to run, and its variables."""


@dataclass(frozen=True, slots=True)
class Desk(Place):
    """A user who has set all variables for a running proxy."""

    proxy: Proxy
    home: Path

    def prepare(
        self, words: list[str], client: str, mode: Mode | None
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command to run, and its variables."""
        if mode is None:
            return words, {}
        connection = client_setup.ConnectionSettings(
            forward_url=self.proxy.forward_url,
            reverse_url=self.proxy.reverse_url,
            ca=self.proxy.ca_path,
            bundle=self.proxy.ca_path,
            adding=self.proxy.ca_path,
            hosts=("api.anthropic.com", "api.openai.com", "chatgpt.com"),
        )
        known = clients.by_command(client)
        assert client in known.commands
        reverse = mode == "reverse"
        variables = client_setup.variables(known, connection, {}, reverse=reverse)
        arguments = client_setup.arguments(known, connection, reverse=reverse)
        return [words[0], *arguments, *words[1:]], variables


@dataclass(frozen=True, slots=True)
class NewUser(Place):
    """A user who only knows `aibridge run`."""

    commands = (Path(sys.executable).parent,)  # `aibridge`, as it is installed
    home: Path
    mark: str = ""
    """Id of the last record before the test."""

    @classmethod
    def at(cls, home: Path) -> "NewUser":
        """Return a user who sees only records from now on."""
        return cls(home, latest_id(cls(home).database))

    @property
    def database(self) -> Path:
        """Path of the database."""
        return self.home / ".local" / "share" / "aibridge" / "aibridge.sqlite3"

    @property
    def records(self) -> Records:
        """Records since `mark`."""
        return read_records(self.database, self.mark)

    def settle(self, config: str) -> None:
        """Write the config files, so that the commands need no options."""
        (self.home / ".mitmproxy").mkdir(parents=True)
        path = self.home / "aibridge.toml"
        path.write_text(config)
        (self.home / ".mitmproxy" / "config.yaml").write_text(f"aibridge_config: {path}\n")

    def prepare(
        self, words: list[str], client: str, mode: Mode | None
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command to run, and its variables."""
        assert mode, "aibridge run always uses a proxy"
        program = Path(words[0])
        flags = ["--reverse"] * (mode == "reverse")
        return ["aibridge", "run", *flags, "--", program.name, *words[1:]], self.path_with(program)

    def path_with(self, program: Path) -> dict[str, str]:
        """Return a PATH on which a shell finds a program by name."""
        return {"PATH": os.pathsep.join([str(program.parent), self.environ["PATH"]])}
