"""Client programs that cannot be installed: they are skipped, by name and with the reason.

The programs themselves are not installed here; see `tests/clients`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clients.programs import Package, program

REFUSED = """\
npm warn Unknown user config "nodedir".
npm error code ECONNREFUSED
npm error syscall connect
npm error errno ECONNREFUSED
npm error FetchError: request to http://127.0.0.1:9/some-agent failed, reason: connect ECONNREFUSED
npm error     at ClientRequest.<anonymous> (index.js:130:14)
npm error A complete log of this run can be found in: debug-0.log
"""

INSTALLS = """\
mkdir -p node_modules/.bin
echo '#!/bin/sh' > node_modules/.bin/some-agent
"""

SUITE = """
from clients.programs import Package, program

def agent(name):
    return Package(registry="npm", requirements=(f"{name}@1.0.0",), program="node_modules/.bin/x")

def test_needs_it():
    program(agent("some-agent"))

def test_needs_it_too():
    program(agent("some-agent"))

def test_needs_another():
    program(agent("other-agent"))

def test_needs_nothing():
    pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only one in the path, and a cache in which there is nothing."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("AIBRIDGE_CLIENTS_CACHE", str(tmp_path / "cache"))
    return path


def put_npm(folder: Path, script: str) -> None:
    """Put an `npm` into the path, which counts how often it is called."""
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\necho >> {folder.parent}/calls\n{script}")
    npm.chmod(0o755)


def calls(folder: Path) -> int:
    """Return how often it was called."""
    return len((folder.parent / "calls").read_text().splitlines())


def agent(name: str) -> Package:
    """Return a package of npm's."""
    return Package(
        registry="npm", requirements=(f"{name}@1.0.0",), program="node_modules/.bin/some-agent"
    )


def why_skipped(package: Package) -> str:
    """Return why a test that needs this is skipped."""
    with pytest.raises(pytest.skip.Exception) as skipped:
        program(package)
    return str(skipped.value)


def test_without_npm_it_says_so() -> None:
    assert why_skipped(agent("one")) == "one@1.0.0 cannot be installed: there is no npm"


def test_where_the_registry_refuses_it_says_what_npm_said_and_asks_no_more(folder: Path) -> None:
    put_npm(folder, f"cat >&2 <<'E'\n{REFUSED}E\nexit 1\n")
    reason = why_skipped(agent("two"))
    assert reason.startswith("two@1.0.0 cannot be installed: npm error FetchError: request to http")
    assert reason.endswith("ECONNREFUSED")
    assert why_skipped(agent("two")) == reason
    assert calls(folder) == 1


def test_installer_that_says_nothing_is_told_by_its_exit_code(folder: Path) -> None:
    put_npm(folder, "exit 7\n")
    assert why_skipped(agent("three")) == "three@1.0.0 cannot be installed: exit code 7"


def test_without_the_python_that_it_needs_it_says_which() -> None:
    needs = Package(
        registry="pypi", requirements=("four==1",), program="bin/four", python=("python3.999",)
    )
    assert why_skipped(needs) == "four==1 cannot be installed: it needs one of python3.999"


@pytest.mark.e2e  # runs pip
def test_where_an_index_refuses_it_says_what_pip_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    reason = why_skipped(Package(registry="pypi", requirements=("five==1",), program="bin/five"))
    assert reason.startswith("five==1 cannot be installed: ")
    assert "Connection refused" in reason


def test_what_can_be_installed_is_installed_once(folder: Path) -> None:
    put_npm(folder, INSTALLS)
    assert program(agent("six")).read_text() == "#!/bin/sh\n"
    program(agent("six"))
    assert calls(folder) == 1


@pytest.mark.e2e  # runs a suite in a process
def test_rest_of_a_suite_still_runs(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "test_suite.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout
    assert "1 passed, 3 skipped" in ended.stdout
    told = re.findall(
        r"SKIPPED \[(\d)\] .*: (\S+) cannot be installed: there is no npm", ended.stdout
    )
    assert sorted(told) == [("1", "other-agent@1.0.0"), ("2", "some-agent@1.0.0")]
