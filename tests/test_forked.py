"""Programs that tests start as forks are processes like those that a shell starts."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import FORK_CLIENT, Forked, ForkServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")

REPORT = """
import os, sys
print(__name__, sys.argv[1:], os.getcwd(), dict(os.environ), os.getpid(), sys.stdin.read())
print("a mistake", file=sys.stderr)
sys.exit(7)
"""
INTERRUPTED = """
import time
try:
    print("ready")
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer(())
    yield made
    made.close()


def run(server: ForkServer, folder: Path, program: str, *arguments: str) -> Forked:
    script = folder / "program.py"
    script.write_text(program)
    words = [str(script), *arguments]
    return server.start(words, {"ONLY": "this"}, folder, subprocess.STDOUT)


def text_of(process: Forked) -> str:
    assert process.stdout
    with process.stdout as lines:
        return lines.read()


def test_fork_has_its_arguments_folder_environment_output_and_exit_code(
    server: ForkServer, tmp_path: Path
) -> None:
    process = run(server, tmp_path, REPORT, "a", "b c")
    expected = f"__main__ ['a', 'b c'] {tmp_path} {{'ONLY': 'this'}} {process.pid} \na mistake\n"
    assert text_of(process) == expected
    assert process.wait(DEADLINE_S) == process.poll() == process.returncode == 7


def test_fork_imports_from_pythonpath_and_can_lead_a_session(
    server: ForkServer, tmp_path: Path
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys; sys.customized = 'customized'")
    (folder / "plugin.py").write_text("NAME = 'plugin'")
    script = tmp_path / "program.py"
    script.write_text(
        "import os, sys, plugin\n"
        "print(plugin.NAME, sys.customized, os.getsid(0) == os.getpid(), sys.path[0])"
    )
    env = {"PYTHONPATH": str(folder)}
    process = server.start([str(script)], env, tmp_path, subprocess.STDOUT, session=True)
    assert text_of(process) == f"plugin customized True {tmp_path}\n"


def test_uncaught_exception_ends_a_fork_with_1_and_its_traceback(
    server: ForkServer, tmp_path: Path
) -> None:
    process = run(server, tmp_path, "raise LookupError('gone')")
    assert text_of(process).endswith("LookupError: gone\n")
    assert process.wait(DEADLINE_S) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_signal_reaches_a_fork(
    server: ForkServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = run(server, tmp_path, INTERRUPTED)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(DEADLINE_S) == code
    process.kill()  # like `subprocess`: nothing to send it to
    assert text_of(process) == ("interrupted\n" if number == signal.SIGINT else "")


def test_forks_end_with_their_tests(tmp_path: Path) -> None:
    server = ForkServer(())
    process = run(server, tmp_path, INTERRUPTED)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    server.close()
    assert text_of(process) == ""  # its output has ended, so nothing holds it open


def started_by_client(server: ForkServer, folder: Path, text: str) -> "subprocess.Popen[str]":
    script = folder / "program.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", FORK_CLIENT, server.address, str(script), "a", "b c"],
        env={"ONLY": "this"},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_client_gives_a_fork_its_arguments_folder_environment_input_and_exit_code(
    server: ForkServer, tmp_path: Path
) -> None:
    with started_by_client(server, tmp_path, REPORT) as client:
        text, _ = client.communicate("from outside", DEADLINE_S)
    assert text.startswith(f"__main__ ['a', 'b c'] {tmp_path} {{'ONLY': 'this'")
    assert text.endswith(" from outside\na mistake\n")
    assert client.returncode == 7


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_signal_to_a_client_ends_its_fork(
    server: ForkServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started_by_client(server, tmp_path, INTERRUPTED) as client:
        assert client.stdout
        assert client.stdout.readline() == "ready\n"
        client.send_signal(number)
        rest = client.stdout.read()  # to its end: no process holds the pipe open
        assert client.wait(DEADLINE_S) == code
    assert rest == ("interrupted\n" if number == signal.SIGINT else "")


IDENTITY = """
from aibridge_addon.config.options import default_values
from aibridge_addon.facts import this_process_id
print(this_process_id())
print(default_values()["aibridge_db"])
"""


def test_forks_that_share_imports_have_their_own_process_id_and_default_database(
    tmp_path: Path,
) -> None:
    server = ForkServer(("aibridge_addon.config.options", "aibridge_addon.facts"))
    script = tmp_path / "program.py"
    script.write_text(IDENTITY)
    seen = [
        text_of(server.start([str(script)], {"XDG_DATA_HOME": name}, tmp_path, 2)).splitlines()
        for name in ("/first", "/second")
    ]
    server.close()

    assert seen[0][0] != seen[1][0]
    assert [Path(database).parts[1] for _, database in seen] == ["first", "second"]
