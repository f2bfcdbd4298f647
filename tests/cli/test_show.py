"""`aibridge show`: trees of requests and sessions."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from report.rows import stored
from store.doubles import all_of_one, ended, prompt, started, tokens, tool
from store.sqlite_files import empty_database, write

from aibridge_addon.cli.safe_text import fit, printable_lines, width_of, wrap
from aibridge_addon.cli.tree import Branch, lines
from aibridge_addon.facts import Interception
from cli.command import Home
from cli.test_requests import HOSTILE, is_clean

ONE = "019a0000-0000-7000-8000-000000000001"
TWO = "019a0000-0000-7000-8000-000000000002"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A session of a request, its sub-agent, and a hostile request."""
    path = empty_database(tmp_path)
    one = started(id=ONE, started_at="2026-11-28T10:00:01+00:00")
    agent = started(
        id="a-1", agent_id="scout", request_kind="subagent", started_at="2026-11-28T10:00:02+00:00"
    )
    two = started(id=TWO, prompt_id=HOSTILE, model=HOSTILE, started_at="2026-11-28T10:00:03+00:00")
    write(path, *all_of_one(one), agent, tokens(agent), ended(agent))
    call = tool(two, tool=HOSTILE, input={HOSTILE: HOSTILE}, invocation_error=HOSTILE)
    end = ended(two, error_type=HOSTILE, error_message=HOSTILE)
    write(path, two, prompt(two, f"{HOSTILE}\n" * 100), tokens(two), call, end)
    return path


def shown(home: Home, database: Path, *words: str) -> str:
    result = home.invoke("show", "--db", str(database), *words)
    assert result.exit_code == 0, result.output
    assert is_clean(result.output)
    return result.output


def test_request_is_shown_as_a_tree(home: Home, database: Path) -> None:
    text = shown(home, database, ONE)
    assert re.search(r"├─ Prompt\n│ +Hello\n├─ Conversation not recorded", text)
    assert re.search(r"├─ Upstream request \d · claude-opus-4-5-20251101 · 80 in, 20 out", text)
    assert "│  ├─ Answer not recorded (aibridge_capture=answers records it)" in text
    assert re.search(r"│  └─ Call of tool Read .*\n│ +│ +path: /x\n", text)
    assert re.search(r"└─ Other requests of the same prompt \(1\)\n.* a-1 subagent completed", text)
    assert all(width_of(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("id_", [ONE, ONE[-8:], ONE[-4:]])
def test_request_is_found_by_the_end_of_its_id(home: Home, database: Path, id_: str) -> None:
    assert ONE in shown(home, database, id_)


def test_session_is_shown_with_sub_agents_under_their_request(home: Home, database: Path) -> None:
    text = shown(home, database, "s-1")
    assert text.startswith("Session s-1 · alice · Claude Code · ")
    assert "3 requests" in text
    first, second = re.split(r"\n\n", text, maxsplit=1)[1].split("\n\n")
    assert "└─ Sub-agent scout\n   └─ " in first
    assert "subagent" in first
    assert TWO in second
    assert "--full shows it" in second


def test_full_text_is_shown_on_request(home: Home, database: Path) -> None:
    folded, full = shown(home, database, TWO), shown(home, database, TWO, "--full")
    assert "--full shows it" in folded
    assert len(full.splitlines()) > 100 > len(folded.splitlines())


def test_json_has_the_rows_and_content(home: Home, database: Path) -> None:
    found = json.loads(shown(home, database, ONE, "--json"))
    assert (found["id"], found["prompts"], found["conversation"]) == (ONE, ["Hello"], None)
    assert found["requests"][0]["missing"]["option"] == "answers"
    assert found["calls"][0]["cost_nano_usd"] is None
    session = json.loads(shown(home, database, "s-1", "--json"))
    assert [request["id"] for request in session["requests"]] == [ONE, "a-1", TWO]
    assert session["session"]["figures"]["requests"] == 3


def test_unknown_id_is_reported(home: Home, database: Path) -> None:
    result = home.invoke("show", "--db", str(database), "\x1b[2Jnone")
    assert result.exit_code == 1
    assert "is not the id of a request or session" in result.output
    assert "\x1b" not in result.output


def test_session_is_exported_as_html(home: Home, database: Path) -> None:
    result = home.invoke("export", "--db", str(database), "--html", "s-1")
    assert result.exit_code == 0, result.output
    assert result.output.count("<article") == 3
    assert result.output.rstrip().endswith("</html>")
    assert home.invoke("export", "--db", str(database), "--html", "x").exit_code == 1


def test_tree_marks_each_level_and_folds_long_texts() -> None:
    tree = Branch(
        "top", branches=[Branch("a", "one\ntwo", [Branch("b", "x\n" * 50)]), Branch("c", "z")]
    )
    assert list(lines(tree, 80, 2)) == [
        "top",
        *("├─ a", "│  │  one", "│  │  two", "│  └─ b", "│        x", "│        x"),
        "│        \x1b[2m… 99 B in all, --full shows it\x1b[0m",
        *("└─ c", "      z"),
    ]


def test_folded_tree_reads_only_the_beginning_of_a_huge_text() -> None:
    tree = Branch("top", branches=[Branch("a", "x" * 50_000_000)])
    assert len(list(lines(tree, 80, 5))) == 8


@pytest.mark.parametrize("width", [20, 33, 80])
def test_wrapped_lines_fit_and_lose_nothing_but_blanks(width: int) -> None:
    text = (
        "    indented words 世界世界世界世界世界世界世界 and averyverylongwordthatmustbebrokenup "
        * 3
    )
    wrapped = list(wrap(printable_lines(f"{text}\n\nshort"), width))
    assert all(width_of(line) <= width for line in wrapped)
    assert "".join(wrapped).replace(" ", "") == f"{text}short".replace(" ", "")
    assert wrapped[-2:] == ["", "short"]


@pytest.mark.parametrize(
    ("text", "fitted"), [("ab", "ab  "), ("abcdef", "abc…"), ("世界世", "世… ")]
)
def test_cell_has_exactly_its_width(text: str, fitted: str) -> None:
    assert fit(text, 4) == fitted


def test_request_with_captured_content_is_shown_with_answer_and_result(
    home: Home, tmp_path: Path
) -> None:
    path = empty_database(tmp_path)
    one = started(id=ONE, started_at="2026-11-28T10:00:01+00:00")
    two = started(id=TWO, started_at="2026-11-28T10:00:02+00:00", correlating_tool_call_id="t")
    ask: dict[str, Any] = {"role": "user", "content": "List /x"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "/x"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}
    first = {"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": [ask]}
    answered = {"role": "assistant", "content": [{"type": "text", "text": "Reading."}, use]}
    second = first | {"messages": [ask, answered, {"role": "user", "content": [result]}]}
    message = answered | {"id": "msg_1", "type": "message", "stop_reason": "tool_use"}
    write(path, one, tokens(one, upstream=0), tool(one), ended(one), two, ended(two))
    store(path, one, first, message)
    store(path, two, second, None)

    text = shown(home, path, ONE)

    assert "├─ Prompt\n│     List /x\n├─ System prompt (9 B)\n│     Be brief.\n" in text
    assert "│  ├─ Answer (8 B)\n│  │     Reading.\n" in text
    assert "└─ Result (5 B)\n" in text
    assert "a.txt" in text
    assert "not recorded" not in text
    later = shown(home, path, TWO)
    assert "Messages: 2 added, 0 removed, 1 kept" in later
    assert "System prompt (9 B, unchanged)" in later


def store(path: Path, fact: Interception, request: dict[str, Any], response: Any) -> None:
    """Write the content of a request."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for message in stored("anthropic_messages", request, response):
            digest = f"{fact.id}{message.position}".encode()
            connection.execute(
                "INSERT INTO aibridge_messages VALUES (?, 0, ?, ?, ?)",
                (fact.id, message.position, message.role, digest),
            )
            connection.execute(
                "INSERT INTO aibridge_parts VALUES (?, ?, ?, 0, '')",
                (digest, message.kind, message.content),
            )
