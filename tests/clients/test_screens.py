"""Claude Code and Codex at a terminal: titles, compaction, queued and interrupted messages."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from e2e.records import Records

from clients import asking
from clients.asking import KEYS
from clients.places import RUN_S, Desk, Mode
from clients.programs import CLAUDE_CODE, CODEX, program
from clients.terminal import Terminal

type Condition = Callable[[Records], Any]


class Person:
    """Somebody who types in a terminal, and looks at what is recorded of it."""

    def __init__(self, terminal: Terminal, desk: Desk, mark: str) -> None:
        self._terminal = terminal
        self._desk = desk
        self._mark = mark

    def enter(self, text: str) -> None:
        """Type a line, and press Enter."""
        self._terminal.type(text)
        self._await_echo(text)
        self._terminal.type("\r")

    def _await_echo(self, text: str) -> None:
        """Wait until the end of the line is shown: an Enter in one write is not a key press."""
        escapes = r"(?:\x1b\[[0-9;?]*[A-Za-z])*"
        self.look_for(escapes.join(map(re.escape, text.split()[-1][-6:])))

    def press(self, keys: str) -> None:
        """Press keys."""
        self._terminal.type(keys)

    def look_for(self, pattern: str) -> None:
        """Wait until something is shown."""
        self._terminal.wait_for(pattern)

    def wait_for(self, condition: Condition) -> Records:
        """Wait until what was recorded since this person came fulfils a condition."""
        return self._desk.proxy.wait_for_records(condition, after=self._mark, timeout_s=RUN_S)

    def ask(self, text: str) -> None:
        """Type a prompt, and wait for its answer."""
        self.enter(text)
        self.wait_for(lambda records: _is_answered(records, text))


class CodexPerson(Person):
    """Somebody at Codex: it takes keys as they come, and says when a turn has ended."""

    def _await_echo(self, text: str) -> None:
        """Do not wait: other parts of the screen may be drawn between the letters."""

    def ask(self, text: str) -> None:
        """Ask, and wait for the end of the turn, of which another message would become a part."""
        before = len(self._terminal.text)
        super().ask(text)
        self._terminal.wait_for("state=done", after=before)


def _is_answered(records: Records, text: str) -> bool:
    rows = {row["id"]: row for row in records.interceptions}
    return any(
        row["prompt"] == text and rows[row["interception_id"]]["status"] == "completed"
        for row in records.user_prompts
    )


def _of_kind(records: Records, kind: str) -> list[dict[str, Any]]:
    return [row for row in records.interceptions if row["request_kind"] == kind]


def is_compacted(records: Records) -> bool:
    """Return True if the conversation was compacted."""
    return any(row["ended_at"] for row in _of_kind(records, "compaction"))


def is_given_up(records: Records) -> bool:
    """Return True if the client cancelled a request."""
    return any(row["status"] == "cancelled" for row in records.interceptions)


@contextmanager
def person_at(
    desk: Desk, words: list[Any], env: dict[str, str], *, client: str, mode: Mode
) -> Iterator[Person]:
    """Open a terminal in which a program runs."""
    command, variables = desk.prepare([str(word) for word in words], client, mode)
    mark = desk.proxy.mark()
    terminal = Terminal(command, {**desk.environ, **variables, **env}, desk.work)
    try:
        yield (CodexPerson if client == "codex" else Person)(terminal, desk, mark)
        terminal.type("\x03")
        terminal.type("\x03")
    finally:
        terminal.close()


def prepare_claude(desk: Desk) -> None:
    """Leave what Claude Code's first start leaves."""
    key = KEYS["ANTHROPIC_API_KEY"]
    known = {
        "hasCompletedOnboarding": True,
        "bypassPermissionsModeAccepted": True,
        "customApiKeyResponses": {"approved": [key[-20:]], "rejected": []},
        "projects": {str(desk.work): {"hasTrustDialogAccepted": True}},
    }
    (desk.home / ".claude.json").write_text(json.dumps(known))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_claude_code_screen_records_one_prompt_for_each_typed_message(
    desk: Desk, mode: Mode
) -> None:
    prepare_claude(desk)
    tool = 'USE_TOOL:Bash ARGS:{"command": "sleep 5", "description": "d"}'
    env = asking.CLAUDE_STABLE | asking.CLAUDE_KEY | {"IS_SANDBOX": "1"}
    words = [program(CLAUDE_CODE), "--dangerously-skip-permissions"]
    with person_at(desk, words, env, client="claude", mode=mode) as person:
        person.look_for("permissions")
        person.ask("hello from the screen")
        person.enter(tool)
        person.wait_for(lambda records: tool in records.prompts)
        person.enter("queued while it works")
        person.wait_for(lambda records: _is_answered(records, "queued while it works"))
        person.enter("/compact")
        person.wait_for(is_compacted)
        person.look_for("Compacted")
        person.ask("after the compaction")
        person.enter(f"GATE:screen-{mode} please")
        person.wait_for(lambda records: f"GATE:screen-{mode} please" in records.prompts)
        person.press("\x1b")
        records = person.wait_for(is_given_up)
    assert records.prompts == [
        "hello from the screen",
        tool,
        "queued while it works",
        "after the compaction",
        f"GATE:screen-{mode} please",
    ]
    titles = _of_kind(records, "title")
    assert bool(titles) == (mode == "forward")  # at a base URL it asks for none
    turns = _of_kind(records, "turn")
    if mode == "forward":  # elsewhere it names no prompt
        assert all(row["prompt_id"] for row in turns)
        assert len({row["prompt_id"] for row in turns}) == 4
    assert {row["request_kind"] for row in records.interceptions} <= {"turn", "title", "compaction"}


def test_codex_screen_records_one_prompt_for_each_typed_message(desk: Desk) -> None:
    asking.set_up_codex(desk)
    path = desk.home / ".codex" / "config.toml"
    # A person types slowly; what comes fast is a paste, in which Enter begins a line.
    path.write_text(
        f"disable_paste_burst = true\n{path.read_text()}"
        f'[projects."{desk.work}"]\ntrust_level = "trusted"\n'
    )
    log_in = [str(program(CODEX)), "login", "--with-api-key"]
    subprocess.run(
        log_in, input=KEYS["OPENAI_API_KEY"], text=True, env=desk.environ, check=True, timeout=60
    )
    words = [program(CODEX), "--dangerously-bypass-approvals-and-sandbox"]
    with person_at(desk, words, {}, client="codex", mode="forward") as person:
        person.look_for("gpt-5")
        person.ask("hello from the screen")
        person.wait_for(lambda records: _of_kind(records, "title"))
        person.enter("/compact")
        person.wait_for(is_compacted)
        person.ask("after the compaction")
        person.enter("GATE:codex-screen please")
        person.wait_for(lambda records: "GATE:codex-screen please" in records.prompts)
        person.press("\x1b")
        person.wait_for(is_given_up)
        person.ask("after the escape")
        records = person.wait_for(lambda records: True)
    assert records.prompts == [
        "hello from the screen",
        "after the compaction",
        "GATE:codex-screen please",
        "after the escape",
    ]
    kinds = {row["request_kind"] for row in records.interceptions}
    assert kinds == {"warmup", "turn", "title", "compaction"}
    assert len({row["prompt_id"] for row in _of_kind(records, "turn")}) == 4
