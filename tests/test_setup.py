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
exit 0
"""
UV = """#!/bin/sh
[ "$1" = --version ] && exit {code}
echo "uv $*" >> "$LOG"
[ "$1" = venv ] && mkdir -p .venv
exit {code}
"""


@pytest.mark.skipif(os.name != "posix", reason="shell scripts")
@pytest.mark.parametrize(("code", "installer"), [(0, "uv"), (127, "python")])
def test_uv_is_used_only_if_it_runs(tmp_path: Path, code: int, installer: str) -> None:
    tree, programs, log = tmp_path / "tree", tmp_path / "bin", tmp_path / "log"
    (tree / "scripts").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(REPOSITORY / "scripts" / "setup", tree / "scripts" / "setup")
    for name in ("requirements.lock", "pyproject.toml"):
        (tree / name).touch()
    for name, text in (("python3.13", PYTHON), ("uv", UV.format(code=code))):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = {"PATH": f"{programs}:/usr/bin:/bin", "LOG": str(log), "HOME": str(tmp_path)}
    subprocess.run([tree / "scripts" / "setup"], env=env, check=True, timeout=60)
    installed = [line for line in log.read_text().splitlines() if "requirements.lock" in line]
    assert [line.split()[0] for line in installed] == [installer]
