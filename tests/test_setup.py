"""`scripts/setup`: which programs it uses."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

PYTHON = """#!/bin/sh
echo "python $*" >> "$LOG"
[ "$2" = venv ] && mkdir -p .venv/bin && cp "$0" .venv/bin/python
case "$*" in *uv.lock) cp "$UV_TO_INSTALL" .venv/bin/uv ;; esac
exit 0
"""
UV = """#!/bin/sh
[ "$1" = --version ] && exit {runs}
echo "uv $*" >> "$LOG"
[ "$1" = venv ] && mkdir -p .venv
exit {installs}
"""


@pytest.mark.skipif(os.name != "posix", reason="shell scripts")
@pytest.mark.parametrize(
    ("own", "installed", "expected"),
    [
        ((0, 0), (127, 1), ["uv"]),
        ((127, 1), (0, 0), ["uv"]),
        ((127, 1), (127, 1), ["python"]),
        ((127, 1), (0, 1), ["uv", "python"]),
    ],
    ids=["uv of the machine", "uv that pip installs", "no uv", "uv that cannot install"],
)
def test_uv_installs_if_it_runs_else_pip(
    tmp_path: Path, own: tuple[int, int], installed: tuple[int, int], expected: list[str]
) -> None:
    tree, programs, log = tmp_path / "tree", tmp_path / "bin", tmp_path / "log"
    (tree / "scripts").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(REPOSITORY / "scripts" / "setup", tree / "scripts" / "setup")
    for name in ("requirements.lock", "pyproject.toml"):
        (tree / name).touch()
    uv = {
        name: UV.format(runs=codes[0], installs=codes[1])
        for name, codes in (("uv", own), ("uv-to-install", installed))
    }
    for name, text in {"python3.13": PYTHON, **uv}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "LOG": str(log),
        "HOME": str(tmp_path),
        "UV_TO_INSTALL": str(programs / "uv-to-install"),
    }
    subprocess.run([tree / "scripts" / "setup"], env=env, check=True, timeout=60)
    used = [line for line in log.read_text().splitlines() if "requirements.lock" in line]
    assert [line.split()[0] for line in used] == expected
