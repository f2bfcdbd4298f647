"""The client programs: which versions, and how they are installed, once."""

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs
import pytest

INSTALL_S = 900.0

_NOT_TELLING = r"npm error (code|syscall|errno) "
"""Text before the line that states the reason."""


def cache() -> Path:
    """Return where programs are installed."""
    given = os.environ.get("AIBRIDGE_CLIENTS_CACHE")
    return Path(given or platformdirs.user_cache_dir("aibridge-clients"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Name of the package in its registry."""

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
        """Path of the installed program."""
        return cache() / "_".join(self.requirements).replace("/", "-").strip("@")


CLAUDE_CODE = Package(
    registry="npm",
    requirements=("@anthropic-ai/claude-code@2.1.332",),
    program="node_modules/.bin/claude",
)
CODEX = Package(
    registry="npm", requirements=("@openai/codex@0.171.0",), program="node_modules/.bin/codex"
)
OPENCODE = Package(
    registry="npm", requirements=("opencode-ai@1.18.33",), program="node_modules/.bin/opencode"
)
COPILOT = Package(
    registry="npm", requirements=("@github/copilot@1.0.102",), program="node_modules/.bin/copilot"
)
GEMINI_CLI = Package(
    registry="npm", requirements=("@google/gemini-cli@0.61.0",), program="node_modules/.bin/gemini"
)
QWEN_CODE = Package(
    registry="npm", requirements=("@qwen-code/qwen-code@0.24.4",), program="node_modules/.bin/qwen"
)
CLINE = Package(registry="npm", requirements=("cline@3.0.65",), program="node_modules/.bin/cline")
CONTINUE = Package(
    registry="npm", requirements=("@continuedev/cli@1.5.47",), program="node_modules/.bin/cn"
)
JS_SDKS = Package(
    registry="npm",
    requirements=("@anthropic-ai/sdk@1.12.0", "openai@6.49.0"),
    program="node_modules/openai/package.json",
)
GOOGLE_JS_SDK = Package(
    registry="npm",
    requirements=("@google/genai@3.3.0", "undici@6.29.1"),
    program="node_modules/undici/package.json",
)
NODE_24 = Package(
    registry="npm", requirements=("node@24.21.0",), program="node_modules/node/bin/node"
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


def node() -> Path:
    """Return Node, as this environment has it; skip the test if it has none."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node")
    return Path(found)


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
    if (npm := shutil.which("npm")) is None:
        raise InstallError("there is no npm")
    _run(npm, "install", "--no-fund", "--no-audit", "--fetch-retries=1", "--prefix", ".",
         *package.requirements, cwd=package.folder)  # fmt: skip


def _install_pypi(package: Package) -> None:
    _run(_python(package), "-m", "venv", "--clear", ".", cwd=package.folder)
    pip = package.folder / "bin" / "python"
    _run(str(pip), "-m", "pip", "install", "-q", "--no-input", *package.requirements,
         cwd=package.folder)  # fmt: skip


def _python(package: Package) -> str:
    if not package.python:
        return sys.executable
    known = list(Path.home().glob(".pyenv/versions/*/bin/python3.*"))
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
        raise InstallError(_telling(error.stderr) or f"exit code {error.returncode}") from None


def _telling(text: str) -> str:
    """Return the line of an installer's output that says why."""
    lines = [line for line in text.splitlines() if not re.match(_NOT_TELLING, line)]
    telling = [line for line in lines if "error" in line.lower()]
    return "".join([*telling, *lines[-1:]][:1])[:300]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other test processes from installing the same."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
