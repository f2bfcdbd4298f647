"""The client programs: which versions, how they are installed once, how they are led to a proxy.

The variables that lead them are the product's own (`aibridge env`), so these tests prove that table
too. Every program gets a home of its own and nothing else of this environment.
"""

import fcntl
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs
import pytest
from e2e.proxy import Proxy

from aibridge_addon.cli import clients

type Mode = Literal["forward", "reverse"]

INSTALL_S = 900.0
RUN_S = 90.0
"""For what takes seconds, on a machine that is busy."""

_CACHE = Path(
    os.environ.get("AIBRIDGE_CLIENTS_CACHE") or platformdirs.user_cache_dir("aibridge-clients")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is installed, as its registry names it."""

    registry: Literal["npm", "pypi"]
    requirements: tuple[str, ...]
    """With exact versions."""
    program: str
    """Below its folder."""
    python: tuple[str, ...] = ()
    """Names of a Python that it runs on; empty: ours."""

    def __str__(self) -> str:
        return self.requirements[0]

    @property
    def folder(self) -> Path:
        """Where it is."""
        return _CACHE / "_".join(self.requirements).replace("/", "-").strip("@")


CLAUDE_CODE = Package(
    registry="npm",
    requirements=("@anthropic-ai/claude-code@2.1.197",),
    program="node_modules/.bin/claude",
)
CODEX = Package(
    registry="npm", requirements=("@openai/codex@0.169.0",), program="node_modules/.bin/codex"
)
OPENCODE = Package(
    registry="npm", requirements=("opencode-ai@1.18.33",), program="node_modules/.bin/opencode"
)
GEMINI_CLI = Package(
    registry="npm", requirements=("@google/gemini-cli@0.61.0",), program="node_modules/.bin/gemini"
)
JS_SDKS = Package(
    registry="npm",
    requirements=("@anthropic-ai/sdk@1.12.0", "openai@6.49.0"),
    program="node_modules/openai/package.json",
)
LLM = Package(registry="pypi", requirements=("llm==0.36", "llm-anthropic==0.30"), program="bin/llm")
AIDER = Package(
    registry="pypi",
    requirements=("aider-chat==0.86.2",),
    program="bin/aider",
    python=("python3.12", "python3.11", "python3.10"),
)


class InstallError(Exception):
    """A package cannot be installed; says why."""


def program(package: Package) -> Path:
    """Return a program, installed if it was not; skip the test if that cannot be."""
    reason = _install(package)
    if reason:
        pytest.skip(f"{package} cannot be installed: {reason}")
    return package.folder / package.program


@functools.cache
def _install(package: Package) -> str:
    """Install a package once; return why that failed, if it did."""
    try:
        with _alone(package.folder):
            done = package.folder / "installed"
            if not done.exists():
                _install_npm(package) if package.registry == "npm" else _install_pypi(package)
                done.touch()
    except (InstallError, OSError) as error:
        return str(error)
    return ""


def _install_npm(package: Package) -> None:
    if shutil.which("npm") is None:
        raise InstallError("there is no npm")
    _run("npm", "install", "--no-fund", "--no-audit", "--prefix", ".", *package.requirements,
         cwd=package.folder)  # fmt: skip


def _install_pypi(package: Package) -> None:
    _run(_python(package), "-m", "venv", "--clear", ".", cwd=package.folder)
    pip = package.folder / "bin" / "python"
    _run(str(pip), "-m", "pip", "install", "-q", "--no-input", *package.requirements,
         cwd=package.folder)  # fmt: skip


def _python(package: Package) -> str:
    if not package.python:
        return sys.executable
    known = Path.home().glob(".pyenv/versions/*/bin/python3.*")
    for name in package.python:
        here = [path for path in known if path.name == name]
        for found in filter(None, (shutil.which(name), *map(str, sorted(here)))):
            # What pyenv puts in the path may be there and not work.
            if (
                subprocess.run([found, "--version"], capture_output=True, check=False).returncode
                == 0
            ):
                return found
    raise InstallError(f"it needs one of {', '.join(package.python)}")


def _run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, text=True, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"not within {INSTALL_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise InstallError(error.stderr.strip()[-500:] or f"exit code {error.returncode}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other test processes from installing the same."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody sits: a home, a folder with work in it, and a proxy to go by."""

    proxy: Proxy
    home: Path

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
            command: What to run.
            mode: How it is led to the proxy; None: not at all.
            client: Its name in the product's table.
            env: More variables.
            timeout_s: After which it is ended, and the test fails.
        """
        arguments, variables = self._led(client, mode)
        process = subprocess.Popen(
            [command[0], *arguments, *command[1:]],
            env={**self._plain(), **variables, **(env or {})},
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
            pytest.fail(f"not within {timeout_s} s: {command}\n{Ran(-9, out, err)}")
        ran = Ran(process.returncode, out, err)
        print(f"--- {Path(command[0]).name}\n{ran}")
        return ran

    def _plain(self) -> dict[str, str]:
        node = shutil.which("node")
        folders = [str(Path(node).parent)] if node else []
        return {
            "PATH": os.pathsep.join([*folders, "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def _led(self, client: str, mode: Mode | None) -> tuple[list[str], dict[str, str]]:
        """Return the arguments and variables that lead a client to the proxy."""
        if mode is None:
            return [], {}
        way = clients.Way(
            forward_url=self.proxy.forward_url,
            reverse_url=self.proxy.reverse_url,
            ca=self.proxy.ca_path,
            bundle=self.proxy.ca_path,
            adding=self.proxy.ca_path,
            hosts=("api.anthropic.com", "api.openai.com", "chatgpt.com"),
        )
        known = clients.named(client)
        assert known is not clients.ANY, client
        reverse = mode == "reverse"
        variables = clients.variables(known, way, {}, reverse=reverse)
        return clients.arguments(known, way, reverse=reverse), variables
