"""`aibridge run -- client` and `eval "$(aibridge env client)"`, as somebody new would type them."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cli.command import Process, wait_until
from e2e.records import Row
from standin import Provider, Server, ServerThread

from clients import asking
from clients.asking import HELLO, KEYS, claude, codex
from clients.conftest import config_of
from clients.gemini import gemini
from clients.places import Mode, NewUser, Ran
from clients.programs import CLAUDE_CODE, CODEX, LLM, Package, program
from clients.terminal import Terminal

type OpenTerminal = Callable[..., Terminal]

ASKED = "TOKENS:11,7"
PROXY = ("aibridge", "proxy", "--port", "0", "--reverse-port", "0", "--metrics", "off")

each_way = pytest.mark.parametrize(
    ("user", "mode"),
    [("own", "forward"), ("own", "reverse"), ("running", "forward")],
    indirect=["user"],
)
each_proxy = pytest.mark.parametrize("user", ["own", "running"], indirect=True)


@pytest.fixture(scope="module")
def providers() -> Iterator[Server]:
    """A stand-in for all providers, without TLS."""
    with ServerThread(Server(Provider())) as server:
        yield server


@pytest.fixture
def user(request: pytest.FixtureRequest, providers: Server, tmp_path: Path) -> Iterator[NewUser]:
    """Somebody new, in whose home a proxy runs already or, by default, none does."""
    made = NewUser(tmp_path / "home")
    made.settle(config_of(providers.origin))
    if getattr(request, "param", "own") == "own":
        yield made
        wait_until(lambda: not own_proxies(made), "its proxy has ended")
    else:
        yield from beside_a_proxy(made)


def beside_a_proxy(made: NewUser) -> Iterator[NewUser]:
    """Give somebody a proxy; it must run until the end."""
    proxy = Process.of([*PROXY], made.environ, cwd=made.home)
    try:
        proxy.wait_for("is up, process")
        yield made
        assert proxy.stop() == 0, proxy.text
        assert "Traceback" not in proxy.text
    finally:
        proxy.kill()


def own_proxies(made: NewUser) -> list[psutil.Process]:
    """Return the proxies that `aibridge run` has started for somebody, and that still run."""
    return [process for process in psutil.process_iter() if _is_own_proxy(process, made)]


def _is_own_proxy(process: psutil.Process, made: NewUser) -> bool:
    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        is_private = "--private" in process.cmdline()
        return is_private and process.environ().get("HOME") == str(made.home)
    return False


def asked(user: NewUser, ran: Ran) -> Row:
    """Return the recorded request with the prompt ASKED, which must also be in the summary."""
    records = user.records
    [prompt] = [row for row in records.user_prompts if row["prompt"].startswith(ASKED)]
    [row] = [row for row in records.interceptions if row["id"] == prompt["interception_id"]]
    [usage] = [
        row for row in records.token_usages if row["interception_id"] == prompt["interception_id"]
    ]
    assert row["status"] == "completed"
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    assert f"{row['model']}: 11 in, 7 out" in last_word(ran)
    return row


def last_word(ran: Ran) -> str:
    """Return the summary of `aibridge run`: the last line on stderr, after a notice only."""
    assert "aibridge" not in ran.out
    notice, *others, line = ran.err.splitlines()
    assert notice.startswith("aibridge: records everything that is said")
    assert "aibridge: " not in "".join(others)
    assert line.startswith("aibridge: ")
    return line


# --- each client


@each_way
def test_run_claude_code(user: NewUser, mode: Mode) -> None:
    ran, output = claude(user, "-p", ASKED, mode=mode, quiet=False)
    assert (ran.code, output["result"]) == (0, HELLO)
    row = asked(user, ran)
    assert (row["client"], row["client_session_id"]) == ("Claude Code", output["session_id"])


@each_way
def test_run_codex(user: NewUser, mode: Mode) -> None:
    ran, events = codex(user, ASKED, mode=mode)
    assert (ran.code, asking.text_of(events)) == (0, HELLO)
    row = asked(user, ran)
    assert (row["client"], row["client_session_id"]) == ("Codex", asking.thread(events))
    assert row["provider_name"] == "openai"


@each_way
def test_run_codex_with_a_chatgpt_login(user: NewUser, mode: Mode, providers: Server) -> None:
    asking.login(user)
    # What is none of a model's business goes straight there, in reverse mode.
    elsewhere = f'chatgpt_base_url = "{providers.origin}/backend-api/"\n' * (mode == "reverse")
    ran, events = codex(user, ASKED, mode=mode, config=elsewhere, env={})
    assert (ran.code, asking.text_of(events)) == (0, HELLO)
    row = asked(user, ran)
    assert (row["client"], row["client_session_id"]) == ("Codex", asking.thread(events))
    assert row["provider_name"] == "chatgpt"


@each_way
def test_run_opencode(user: NewUser, mode: Mode) -> None:
    ran = asking.opencode(user, "anthropic/claude-sonnet-4-5", ASKED, mode=mode)
    assert ran.code == 0
    assert HELLO in ran.out
    row = asked(user, ran)
    assert row["client"] == "OpenCode"
    assert row["client_session_id"].startswith("ses_")


@each_way
def test_run_llm(user: NewUser, mode: Mode) -> None:
    ran = asking.llm(user, "gpt-4o", ASKED, mode=mode)
    assert (ran.code, ran.out.strip()) == (0, HELLO)
    assert asked(user, ran)["client"] == "OpenAI SDK (Python)"


@each_way
def test_run_aider(user: NewUser, mode: Mode) -> None:
    ran = asking.aider(user, "anthropic/claude-sonnet-4-5", ASKED, mode=mode)
    assert ran.code == 0
    assert HELLO in ran.out
    asked(user, ran)


@each_way
def test_run_program_with_python_sdks(user: NewUser, mode: Mode) -> None:
    ran = asking.python(user, mode=mode)
    assert (ran.code, ran.out.splitlines()) == (0, [HELLO] * 5)
    asking.by_sdks(user.records, "Python")
    assert last_word(ran).startswith("aibridge: 5 requests · ")


@each_way
def test_run_program_with_javascript_sdks(user: NewUser, mode: Mode) -> None:
    ran = asking.javascript(user, mode=mode)
    assert (ran.code, ran.out.splitlines()) == (0, [HELLO] * 5)
    asking.by_sdks(user.records, "JavaScript")
    assert last_word(ran).startswith("aibridge: 5 requests · ")


@each_way
def test_run_script_of_node(user: NewUser, mode: Mode) -> None:
    path = user.home / "bin" / "some-agent"
    path.parent.mkdir()
    path.write_text(f"#!/usr/bin/env node\n{asking.JAVASCRIPT}")
    path.chmod(0o755)
    ran = user.run([path], mode=mode, client="node", env=KEYS | asking.js_modules())
    assert (ran.code, ran.out.splitlines()) == (0, [HELLO] * 5)
    asking.by_sdks(user.records, "JavaScript")


@each_way
def test_run_gemini_cli(user: NewUser, mode: Mode) -> None:
    ran, output = gemini(user, "hello", mode=mode)
    assert (ran.code, output["response"]) == (0, HELLO)
    assert {row["client"] for row in user.records.interceptions} == {"Gemini CLI"}
    assert user.records.prompts == ["hello"]


# --- ends


@each_way
def test_run_returns_the_exit_code_of_a_failed_client(user: NewUser, mode: Mode) -> None:
    # A 400 it sends again at a base URL, each time with fewer features: see test_refusals.
    ran, output = claude(user, "-p", "STATUS:403", mode=mode)
    assert (ran.code, output["is_error"]) == (1, True)
    assert "(1 did not complete)" in last_word(ran)
    failed = asking.llm(user, "gpt-4o", "STATUS:400", mode=mode)
    assert failed.code == 1
    assert "The script asked for 400" in failed.err
    assert [row["status"] for row in user.records.interceptions] == ["failed", "failed"]


@pytest.fixture
def open_terminal(user: NewUser) -> Iterator[OpenTerminal]:
    """Open a terminal, and run a program in it through the proxy."""
    opened: list[Terminal] = []

    def run(command: list[str | Path], env: dict[str, str]) -> Terminal:
        words, variables = user.prepare([str(word) for word in command], "", "forward")
        user.work.mkdir(parents=True, exist_ok=True)
        opened.append(Terminal(words, {**user.environ, **variables, **env}, user.work))
        return opened[-1]

    yield run
    for terminal in opened:
        terminal.close()


@each_proxy
def test_ctrl_c_ends_claude_code(user: NewUser, open_terminal: OpenTerminal) -> None:
    command = [program(CLAUDE_CODE), "-p", "GATE:held", "--verbose", "--include-partial-messages"]
    env = asking.CLAUDE_QUIET | asking.CLAUDE_KEY
    terminal = open_terminal([*command, "--output-format", "stream-json"], env)
    terminal.wait_for("message_start")
    terminal.type("\x03")
    assert terminal.wait() == 0  # so it ends without us, too
    assert terminal.text.count("aibridge: 1 request") == 1
    wait_until(lambda: is_cancelled(user), "the request was given up")


@each_proxy
def test_ctrl_c_ends_codex(user: NewUser, open_terminal: OpenTerminal) -> None:
    asking.set_up_codex(user)
    command = [program(CODEX), "exec", "--json", "--skip-git-repo-check", "GATE:held"]
    terminal = open_terminal(command, asking.CODEX_KEY)
    terminal.wait_for("turn.started")
    wait_until(lambda: user.records.prompts, "the prompt was recorded")
    terminal.type("\x03")
    assert terminal.wait() == 1
    assert terminal.text.count("aibridge: 2 requests") == 1
    wait_until(lambda: is_cancelled(user), "the request was given up")


def is_cancelled(user: NewUser) -> bool:
    """Return True if the client cancelled the last request."""
    return bool(user.records.interceptions[-1]["status"] == "cancelled")


def is_completed(user: NewUser) -> bool:
    """Return True if a response has reached the client whole."""
    return any(row["status"] == "completed" for row in user.records.interceptions)


@each_proxy
def test_run_leaves_the_screen_to_claude_code(user: NewUser, open_terminal: OpenTerminal) -> None:
    key = KEYS["ANTHROPIC_API_KEY"]
    known = {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": {"approved": [key[-20:]], "rejected": []},
        "projects": {str(user.work): {"hasTrustDialogAccepted": True}},
    }
    (user.home / ".claude.json").write_text(json.dumps(known))
    terminal = open_terminal([program(CLAUDE_CODE)], asking.CLAUDE_QUIET | asking.CLAUDE_KEY)
    terminal.wait_for("❯")
    terminal.type(ASKED)
    terminal.wait_for(ASKED)
    terminal.type("\r")
    terminal.wait_for("stand-in")
    wait_until(lambda: is_completed(user), "the response was recorded")
    terminal.type("\x03")
    terminal.wait_for("Interrupted|again to exit")
    if "again to exit" not in terminal.text:  # its turn had not ended yet
        terminal.type("\x03")
        terminal.wait_for("again to exit")
    notice, _, screen = terminal.text.partition("\n")
    assert notice.startswith("aibridge: records")
    assert "aibridge" not in screen
    terminal.type("\x03")
    assert terminal.wait() == 0
    assert re.search(r"aibridge: \d requests? · .*11 in, 7 out", terminal.text.splitlines()[-1])


# --- a shell that is set up


@pytest.mark.parametrize("user", ["running"], indirect=True)
@pytest.mark.parametrize("flags", ["", " --reverse"])
@pytest.mark.parametrize(
    ("name", "package", "arguments"),
    [("claude", CLAUDE_CODE, f"-p {ASKED}"), ("llm", LLM, f"-m gpt-4o {ASKED}")],
)
def test_claude_code_uses_the_proxy_after_eval_of_env(
    user: NewUser, flags: str, name: str, package: Package, arguments: str
) -> None:
    script = f'set -eu; eval "$(aibridge env {name}{flags})"; {name} {arguments}'
    env = user.path_with(program(package)) | asking.CLAUDE_QUIET | KEYS
    ran = user.run_plainly(["bash", "-c", script], env=env)
    assert (ran.code, ran.out.strip()) == (0, HELLO)
    [row] = user.records.interceptions
    assert (row["status"], user.records.prompts) == ("completed", [ASKED])
    assert user.records.counts[:2] == (11, 7)
