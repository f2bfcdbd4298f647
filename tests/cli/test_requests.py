"""`aibridge tail`, `search` and `export`: lines of requests, and hostile records."""

import contextlib
import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from report.rows import request_row
from standin.plan import ANSWER
from store.doubles import all_of_one, ended, prompt, started, tokens, tool
from store.sqlite_files import empty_database, write

from aibridge_addon.cli.request_lines import heading, request_line
from aibridge_addon.cli.safe_text import width_of
from aibridge_addon.cli.tail import MOST_FAILURES, follow
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Live, Page, RequestRow
from aibridge_addon.store.errors import NothingRecordedError, StoreError
from cli.command import Home

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202eevil\x00"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with a request of alice and a hostile one."""
    path = empty_database(tmp_path)
    write(path, *all_of_one(started()))
    eve = started(initiator_id=HOSTILE, model=HOSTILE, client=HOSTILE, client_session_id=HOSTILE)
    call = tool(eve, tool=HOSTILE, input={"path": HOSTILE})
    end = ended(eve, error_type=HOSTILE, error_message=HOSTILE)
    write(path, eve, prompt(eve, f"hello {HOSTILE}"), tokens(eve), call, end)
    return path


def is_clean(text: str) -> bool:
    return all(char.isprintable() for line in text.split("\n") for char in line)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_line_of_a_request_fits_into_the_width(width: int) -> None:
    row = request_row(
        actor="somebody-with-a-long-name@example.com",
        client="Claude Code 世界世界世界",
        model="claude-opus-4-5-20251101-with-more",
        figures=Figures(
            requests=1, calls=1, input=123_456_789, output=99_999, cost_nano_usd=10**13
        ),
    )
    for line in (request_line(row, width), heading(width)):
        assert width_of(line) <= width
    assert ("r-1" in request_line(row, width)) is (width > 80)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "ok"),
        ({"status": "failed", "http_status": 529}, "529"),
        ({"status": "failed", "http_status": 200}, "failed"),
        ({"status": "cancelled"}, "cancel"),
        ({"status": None, "ended_at": None}, "open"),
    ],
)
def test_line_states_the_outcome(changes: dict[str, Any], shown: str) -> None:
    assert f" {shown} " in request_line(request_row(**changes), 80)


def test_line_shows_unknown_tokens_and_prices_as_a_dash() -> None:
    row = request_row(figures=Figures(requests=1, without_usage=1, unpriced=1))
    assert request_line(row, 80).split()[-3:] == ["—", "—", "300ms"]
    listed = request_row(figures=Figures(requests=1, calls=1, list_price_nano_usd=12_300_000))
    assert "($0.0123)" in request_line(listed, 80)


class ReportsOfBatches(Reports):
    """Reports whose live view returns given batches, then interrupts."""

    def __init__(self, *batches: list[str] | Exception, earlier: tuple[str, ...] = ()) -> None:
        self._batches = iter(batches)
        self._earlier = earlier
        self.asked: list[RequestQuery] = []

    def requests(self, query: RequestQuery) -> Page[RequestRow]:
        self.asked.append(query)
        return Page(rows=tuple(request_row(id=id_) for id_ in self._earlier))

    def ended_since(self, cursor: str | None, query: RequestQuery) -> Live:
        if cursor is None:
            return Live(cursor="5")
        batch = next(self._batches, None)
        if batch is None:
            raise KeyboardInterrupt
        if isinstance(batch, Exception):
            raise batch
        rows = tuple(request_row(id=id_) for id_ in batch)
        return Live(rows=rows, cursor=str(int(cursor) + len(batch)))


def followed(reports: ReportsOfBatches, lines: int = 10) -> list[str]:
    rows = follow(reports, RequestQuery(), lines, wait=lambda seconds: None)
    seen: list[str] = []
    with contextlib.suppress(KeyboardInterrupt):
        seen.extend(row.id for row in rows)
    return seen


def test_tail_shows_the_last_requests_oldest_first_and_repeats_none() -> None:
    reports = ReportsOfBatches(["a", "c"], [], ["d"], earlier=("b", "a"))
    assert followed(reports) == ["a", "b", "c", "d"]
    assert "open" not in reports.asked[0].statuses


def test_tail_of_no_lines_reads_no_earlier_requests() -> None:
    reports = ReportsOfBatches(["a"], earlier=("b",))
    assert followed(reports, lines=0) == ["a"]


def test_tail_survives_failed_readings_but_not_for_ever() -> None:
    busy = StoreError("busy")
    assert followed(ReportsOfBatches(busy, ["a"], busy, ["b"])) == ["a", "b"]
    reports = ReportsOfBatches(*[busy] * (MOST_FAILURES + 1))
    with pytest.raises(StoreError, match="busy"):
        list(follow(reports, RequestQuery(), 0, wait=lambda seconds: None))


def test_tail_waits_for_a_database_that_does_not_exist_yet() -> None:
    class Absent(ReportsOfBatches):
        def ended_since(self, cursor: str | None, query: RequestQuery) -> Live:
            if cursor is None:
                raise NothingRecordedError("nothing was recorded yet")
            return super().ended_since(cursor, query)

    absent = NothingRecordedError("nothing was recorded yet")
    assert followed(Absent(*[absent] * (MOST_FAILURES + 5), ["a"])) == ["a"]


def test_search_marks_the_words_and_names_the_request(home: Home, database: Path) -> None:
    result = home.invoke("search", "--db", str(database), "--actor", "alice", "hello")
    assert result.exit_code == 0, result.output
    title, snippet = result.output.splitlines()
    assert "prompt  alice · Claude Code · claude-opus-4-5" in title
    assert snippet == "    [Hello]"


def test_search_has_pages(home: Home, database: Path) -> None:
    first = home.invoke("search", "--db", str(database), "--limit", "1", "hello").output
    cursor = first.splitlines()[-1].rpartition(" ")[2]
    second = home.invoke("search", "--db", str(database), "--after", cursor, "hello").output
    assert "alice" in second
    assert "alice" not in first
    found = home.invoke("search", "--db", str(database), "--json", "hello").output
    assert [hit["source"] for hit in json.loads(found)["rows"]] == ["prompt", "prompt"]


def test_search_states_what_is_wrong_with_its_text(home: Home, database: Path) -> None:
    for words, error in ((['"open'], "is not closed"), (["++"], "no letter or digit")):
        result = home.invoke("search", "--db", str(database), *words)
        assert result.exit_code == 2
        assert error in result.output
    result = home.invoke("search", "--db", str(database), "absent")
    assert (result.exit_code, result.output) == (0, "No recorded text contains these words.\n")


def test_export_resumes_after_the_cursor_of_its_last_line(home: Home, database: Path) -> None:
    lines = home.invoke("export", "--db", str(database)).output.splitlines()
    first, second = map(json.loads, lines)
    assert first["actor"] == "alice"
    assert [text["text"] for text in first["texts"]] == ["Hello", "Hm."]
    assert first["figures"]["cost_nano_usd"] is None
    assert (first["calls"][0]["input"], first["tools"][0]["tool"]) == (10, "Read")
    assert not {"messages", "next_id", "same_prompt"} & first.keys()
    words = ("export", "--db", str(database), "--after")
    assert home.invoke(*words, first["cursor"]).output.splitlines() == lines[1:]
    assert home.invoke(*words, second["cursor"]).output == ""
    assert "is not a cursor" in home.invoke(*words, "x").output


def test_export_with_content_has_the_messages(home: Home, database: Path) -> None:
    lines = home.invoke("export", "--db", str(database), "--content").output.splitlines()
    assert json.loads(lines[0])["messages"] == []


@pytest.mark.parametrize(
    "words", [("search", "hello"), ("search", "--json", "hello"), ("export",)], ids=" ".join
)
def test_no_control_character_of_a_record_is_printed(
    home: Home, database: Path, words: tuple[str, ...]
) -> None:
    result = home.invoke(*words, "--db", str(database))
    assert result.exit_code == 0, result.output
    assert is_clean(result.output)
    assert "owned" in result.output


def test_no_control_character_of_a_record_is_in_its_line() -> None:
    row = request_row(actor=HOSTILE, model=HOSTILE, client=HOSTILE, status=HOSTILE, id=HOSTILE)
    assert is_clean(request_line(row, 160).removeprefix("\x1b[31m").removesuffix("\x1b[0m"))


@pytest.mark.parametrize(
    "words", [("tail", "--kind", "nonsense"), ("export", "--status", "completed,bad")], ids=" ".join
)
def test_unknown_kind_or_status_is_refused(home: Home, words: tuple[str, ...]) -> None:
    result = home.invoke(*words)
    assert result.exit_code == 2
    assert "is not one of" in result.output


@pytest.mark.e2e
def test_tail_shows_requests_of_another_process_as_they_end(shared: Home) -> None:
    def ask(model: str, text: str) -> None:
        answer = httpx2.post(
            f"{shared.proxy().reverse_url}/anthropic/v1/messages",
            json={"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": text}]},
            headers={"x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01"},
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text

    ask("claude-first", "say zyzzyva")
    tail = shared.start("tail", "-n", "1", "--model", "claude-*")
    assert "claude-first" in tail.wait_for(r"\d\d:\d\d:\d\d ok ")  # it follows from here on
    ask("other-model", "hi")
    ask("claude-second", "hi TOKENS:10,20,30,5")
    line = tail.wait_for("claude-second")
    tail.send(signal.SIGINT)

    assert tail.wait() == 0, tail.text
    assert re.search(r" ok +\S+ +\S+ +claude-second +45→20 ", line), line
    assert "other-model" not in tail.text
    assert "[zyzzyva]" in shared.run("search", "zyzzyva").stdout
    exported = json.loads(shared.run("export", "--model", "claude-second").stdout)
    assert exported["figures"]["output"] == 20
    tree = shared.run("show", exported["id"][-8:]).stdout
    assert re.search(r"├─ Prompt\n│ +hi TOKENS:10,20,30,5\n", tree), tree
    assert re.search(
        rf"Upstream request 1 .* 45 in, 20 out[\s\S]*Answer .*\n[ │]+{ANSWER}", tree
    ), tree
    assert "System prompt" not in tree
    assert f"[{ANSWER.split()[0]}]" in shared.run("search", ANSWER.split()[0]).stdout
