"""`aibridge run`: real programs, their exit codes, their signals, and the summary."""

import json
import os
import re
import shlex
import signal
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import forked
import psutil
import pytest
from e2e.clients import ANTHROPIC_KEY
from e2e.conftest import StartStandin
from e2e.records import read_records
from standin import Provider, Server, ServerThread

from aibridge_addon.cli import run
from cli.command import AIBRIDGE, WAIT_S, Home, Process, wait_until

KEY = {"ANTHROPIC_API_KEY": ANTHROPIC_KEY, "OPENAI_API_KEY": "sk-proj-0123456789abcdefghij"}

ANTHROPIC_PROGRAM = """
import anthropic, sys
client = anthropic.Anthropic(max_retries=0)
for model, tokens in (("opus", "11,7"), ("haiku", "5,3")):
    message = client.messages.create(
        model=model, max_tokens=9, messages=[{"role": "user", "content": f"TOKENS:{tokens}"}])
print("the program is done", message.type)
sys.exit(7)
"""

OPENAI_PROGRAM = """
import openai
print(openai.OpenAI(max_retries=0).responses.create(model="gpt-5", input="TOKENS:5,3").status)
"""

WAITING_PROGRAM = """
import signal, sys
for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), lambda got, _: sys.exit(got + 20))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A program that waits for a signal, and adds its number to the exit code."""
    path = tmp_path / "waiting.py"
    path.write_text(textwrap.dedent(WAITING_PROGRAM))
    return path


def test_run_starts_a_temporary_proxy_and_returns_the_exit_code(home: Home) -> None:
    words = (sys.executable, "-c", ANTHROPIC_PROGRAM)
    ended = home.run("run", *home.options, "--", *words, env=KEY)
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout == "the program is done message\n"
    [_, line] = ended.stderr.splitlines()
    assert line == "aibridge: 2 requests · opus: 11 in, 7 out · haiku: 5 in, 3 out · 2 unpriced"
    records = read_records(home.database)
    assert {row["status"] for row in records.interceptions} == {"completed"}
    assert not (home.data / "proxy.json").exists()


def test_run_reverse_sets_base_urls(shared: Home) -> None:
    before = len(read_records(shared.database).interceptions)
    words = (sys.executable, "-c", OPENAI_PROGRAM)
    ended = shared.run("run", "--reverse", "--", *words, env=KEY)
    assert (ended.returncode, ended.stdout) == (0, "completed\n"), ended.stderr
    assert ended.stderr.splitlines() == [
        "aibridge: records everything that is said"
        " (to record less: --set aibridge_capture=prompts,tools,thoughts)",
        "aibridge: 1 request · gpt-5: 5 in, 3 out · <$0.0001",
    ]
    [row] = read_records(shared.database).interceptions[before:]
    assert row["provider_name"] == "openai"


def test_run_uses_the_running_proxy(shared: Home) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "STATUS:400"}]}
    curl = [
        *("curl", "-sS", "--fail", "-H", "anthropic-version: 2023-06-01"),
        *("-d", json.dumps(body), "https://api.anthropic.com/v1/messages"),
    ]
    ended = shared.run("run", "--", *curl)
    assert ended.returncode == 22
    assert "1 request (1 did not complete) · m: 0 in, 0 out" in ended.stderr
    quiet = shared.run("run", "--quiet", *curl)  # the dashes may be left out
    assert quiet.returncode == 22
    assert "aibridge" not in quiet.stderr


@pytest.mark.parametrize("way", [(), ("--reverse",)], ids=["forward", "reverse"])
def test_summary_counts_only_requests_of_its_own_program(
    shared: Home, way: tuple[str, ...]
) -> None:
    """Another program sends a request meanwhile."""
    aibridge = forked.command(forked.AIBRIDGE)
    nested = (*aibridge, "run", *way, "--quiet", "--", sys.executable, "-c", OPENAI_PROGRAM)
    program = (
        f"import subprocess, sys; subprocess.run({list(nested)!r}, check=True)\n{ANTHROPIC_PROGRAM}"
    )
    before = len(read_records(shared.database).interceptions)
    ended = shared.run("run", *way, "--", sys.executable, "-c", program, env=KEY)
    assert ended.returncode == 7, ended.stderr
    assert "2 requests · " in ended.stderr
    assert "gpt-5" not in ended.stderr
    rows = read_records(shared.database).interceptions[before:]
    marks = [row["metadata"]["aibridge_run"] for row in rows]
    assert len(marks) == 3
    assert len(set(marks)) == 2


LOCAL_PROGRAM = """
import sys, httpx2
for host in ("localhost", "127.0.0.1"):
    for port in sys.argv[1:]:
        print(httpx2.get(f"https://{host}:{port}/v1/models", verify=False).status_code)
"""


def test_program_reaches_local_servers_without_the_proxy(
    shared: Home, start_standin: StartStandin
) -> None:
    servers = [start_standin(), start_standin()]
    ports = [str(server.port) for server in servers]
    ended = shared.run("run", "--", sys.executable, "-c", LOCAL_PROGRAM, *ports)
    assert ended.stdout == "200\n" * 4, ended.stderr
    by_the_proxy = ("curl", "-sS", "--noproxy", "", f"https://localhost:{ports[0]}/v1/models")
    ended = shared.run("run", "--", *by_the_proxy)
    assert ended.returncode == 56
    assert "403" in ended.stderr


def test_temporary_proxy_allows_private_networks(home: Home) -> None:
    """A shared proxy would refuse a server in a private network."""
    with ServerThread(Server(Provider())) as server:
        curl = 'exec curl -sS --fail -p -x "$HTTPS_PROXY" --noproxy "" "$0"'
        words = ("sh", "-c", curl, f"{server.origin}/v1/models")
        ended = home.run("run", *home.options, "--", *words)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["object"] == "list"


def test_summary_states_that_there_were_no_requests(shared: Home) -> None:
    ended = shared.run("run", "--", "true")
    assert ended.returncode == 0
    assert "no requests to AI providers" in ended.stderr


def test_summary_counts_requests_that_are_not_recorded(
    home: Home,
) -> None:
    words = ("curl", "-sS", "--fail", "https://api.anthropic.com/v1/models")
    ended = home.run("run", *home.options, "--", "sh", "-c", f"exec {shlex.join(words)}")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "aibridge: no recorded requests (1 request passed)"


def test_summary_suggests_reverse_for_an_unknown_program_without_requests(shared: Home) -> None:
    hint = "they bypassed the proxy: try --reverse"
    assert hint in shared.run("run", "--", "true").stderr
    assert hint not in shared.run("run", "--reverse", "--", "true").stderr
    assert hint not in shared.run("run", "--", sys.executable, "-c", "").stderr


SHOWING_PROGRAM = """\
#!{interpreter}
echo "${{OPENAI_BASE_URL-none}}"
"""


@pytest.mark.parametrize(
    ("interpreter", "is_node"),
    [
        ("/usr/bin/env node", True),
        ("/usr/bin/env -S A=b node --no-warnings", True),
        ("/bin/sh", False),
        ("/usr/bin/env sh", False),
    ],
)
def test_script_run_by_node_gets_base_urls(
    shared: Home, tmp_path: Path, interpreter: str, is_node: bool
) -> None:
    node = tmp_path / "node"  # any shell does
    node.write_text('#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec sh "$@"\n')
    node.chmod(0o755)
    agent = tmp_path / "agent"
    agent.write_text(SHOWING_PROGRAM.format(interpreter=interpreter))
    agent.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    ended = shared.run("run", "--", str(agent), env={"PATH": path})
    shown = re.sub(r"/aibridge-run-[0-9a-f]{16}/", "/", ended.stdout)
    expected = f"{shared.proxy().reverse_url}/openai/v1" if is_node else "none"
    assert shown == f"{expected}\n", ended.stderr


def test_missing_program_has_the_exit_code_of_a_shell(home: Home) -> None:
    missing = home.invoke("run", "--", "no-such-program-anywhere")
    assert missing.exit_code == 127
    assert "no such program" in missing.stderr
    mere_file = home.path / "file"
    mere_file.write_text("nothing")
    result = home.invoke("run", "--", str(mere_file))
    assert result.exit_code == 126
    assert "is not executable" in result.stderr


def test_run_without_a_program_prints_its_usage(home: Home) -> None:
    result = home.invoke("run")
    assert result.exit_code == 2
    assert "PROGRAM" in result.stderr


def test_run_does_not_start_a_client_that_refuses_reverse(shared: Home) -> None:
    result = shared.invoke("run", "--reverse", "--", "curl", "--version")
    assert result.exit_code == 1
    assert "curl cannot be given a base URL" in result.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_run_forwards_signals_to_the_program(shared: Home, waiting: Path, name: str) -> None:
    number = getattr(signal, name)
    # In a session of its own: it has no terminal that would send signals to all.
    process = shared.start("run", "-q", "--", sys.executable, str(waiting), session=True)
    process.wait_for("ready")
    process.send(number)
    assert process.wait() == number + 20, process.text


def test_killed_program_has_the_exit_code_of_a_shell(shared: Home) -> None:
    ended = shared.run("run", "-q", "--", "sh", "-c", "kill -KILL $$")
    assert ended.returncode == 128 + signal.SIGKILL


COUNTING_PROGRAM = """
import signal, sys
count = 0
def interrupted(*_):
    global count
    count += 1
    print("interrupted", flush=True)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(count))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_ctrl_c_in_a_terminal_reaches_the_program_once(shared: Home) -> None:
    """The terminal sends it to both processes, so that it must not be forwarded."""
    ours, theirs = os.openpty()
    # The leader of a session that opens a terminal gets it as its own.
    command = [*AIBRIDGE, "run", "-q", "--", sys.executable, "-c", COUNTING_PROGRAM]
    script = f"exec {shlex.join(command)} < {os.ttyname(theirs)}"
    process = Process.of(["sh", "-c", script], shared.env, start_new_session=True)
    shared.processes.append(process)
    try:
        process.wait_for("ready")
        os.write(ours, b"\x03")
        process.wait_for("interrupted")
        process.send(signal.SIGUSR1)
        assert process.wait() == 1, process.text
    finally:
        os.close(ours)
        os.close(theirs)


LEAVING_PROGRAM = """
import json, subprocess, sys
messages = [{"role": "user", "content": "GATE:never"}]
body = {"model": "m", "max_tokens": 9, "stream": True, "messages": messages}
url = "https://api.anthropic.com/v1/messages"
held = subprocess.Popen(["curl", "-sN", url, "-d", json.dumps(body)], stdout=subprocess.PIPE)
held.stdout.readline()
print("left", flush=True)
sys.exit(7)
"""
"""Ends while a child process has an open request, for which the proxy waits a moment."""


def test_ctrl_c_during_the_shutdown_does_not_change_the_exit_code(home: Home) -> None:
    process = home.start("run", *home.options, "--", sys.executable, "-c", LEAVING_PROGRAM)
    process.wait_for("left")
    ours = psutil.Process(process.pid)
    wait_until(lambda: len(ours.children()) == 1, "the program has ended, and its proxy has not")
    process.send(signal.SIGINT)
    assert process.wait() == 7, process.text
    assert "aibridge: 1 request" in process.lines[-1]


TERMINAL = """
import os, signal, subprocess, sys
terminal = os.open(sys.argv[1], os.O_RDWR)  # of the leader of a session: it is its own from now on
signal.signal(signal.SIGHUP, lambda *_: process.send_signal(signal.SIGHUP))
process = subprocess.Popen(sys.argv[2:], stdin=terminal, stderr=terminal)
print("code", process.wait(), flush=True)
"""
"""Runs a program in a terminal, and passes SIGHUP on, as shells do."""

STAYING_PROGRAM = LEAVING_PROGRAM.replace("sys.exit(7)", "sys.exit(held.wait() and 7)")
"""Ends with its request, which broke off."""


def test_closed_terminal_ends_the_program_and_its_open_request_is_recorded(home: Home) -> None:
    ours, theirs = os.openpty()
    run = [*AIBRIDGE, "run", *home.options, "--", sys.executable, "-c", STAYING_PROGRAM]
    words = [sys.executable, "-c", TERMINAL, os.ttyname(theirs), *run]
    process = home.start_program(words, start_new_session=True)
    process.wait_for("left")
    os.close(theirs)
    os.close(ours)
    process.wait()
    assert process.lines[-1] == f"code {128 + signal.SIGHUP}", process.text
    [row] = read_records(home.database).interceptions
    assert (row["status"], row["error_type"]) == ("interrupted", "shut_down")


def test_death_of_the_temporary_proxy_is_reported(home: Home) -> None:
    process = home.start("run", *home.options, "--", sys.executable, "-c", STAYING_PROGRAM)
    process.wait_for("left")
    [proxy] = [each for each in psutil.Process(process.pid).children() if is_proxy(each)]
    proxy.kill()
    assert process.wait() == 7, process.text
    log = home.data / "run.log"
    expected = f"aibridge: the temporary proxy ended before the program; see {log}"
    assert process.lines[-1] == expected


def is_proxy(process: psutil.Process) -> bool:
    with suppress(psutil.ZombieProcess):
        return "--private" in process.cmdline()
    return False


def test_ctrl_c_during_the_summary_does_not_change_the_exit_code(
    shared: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "open_records_of", interrupt)
    assert shared.invoke("run", "--", "sh", "-c", "exit 7").exit_code == 7


def test_temporary_proxy_ends_when_run_is_killed(home: Home, waiting: Path) -> None:
    process = home.start("run", *home.options, "--", sys.executable, str(waiting))
    process.wait_for("ready")
    children = psutil.Process(process.pid).children()
    [proxy] = filter(is_proxy, children)
    [program] = [child for child in children if child != proxy]
    process.kill()
    try:
        psutil.wait_procs([proxy], timeout=WAIT_S)
        assert not proxy.is_running(), (home.data / "run.log").read_text()
    finally:
        program.kill()


def test_failed_start_of_the_temporary_proxy_is_reported_with_its_log(home: Home) -> None:
    home.config.write_text("[[providers]]\nnonsense = 1\n")
    ended = home.run("run", "--config", str(home.config), "--", "true")
    assert ended.returncode == 1
    assert "the proxy did not start" in ended.stderr
    assert "nonsense is not known" in ended.stderr
