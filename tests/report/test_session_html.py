"""A session as one HTML file: complete, self-contained, and safe against hostile records."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report.rows import call_row, detail, request_row, tool_row

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import SessionRow, TextRow
from aibridge_addon.report.session_html import MAX_CHARACTERS, clean, render
from aibridge_addon.report.timeline import timeline

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\u202e\x00\x9b{{ 7*7 }}'
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "br", "article"),
    *("section", "div", "span", "pre", "details", "summary"),
}


class _Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def session(**changes: object) -> SessionRow:
    made = SessionRow(
        id="s-1",
        actor="alice",
        client="Claude Code",
        started_at="2026-11-28T10:00:00+00:00",
        latest_at="2026-11-28T10:05:00+00:00",
        models=("opus",),
        prompt="Hi",
        figures=Figures(requests=2, completed=2, cost_nano_usd=12_300_000, unpriced=1),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    return reader


def test_file_has_the_session_and_its_requests() -> None:
    made = detail(
        texts=(TextRow(kind="prompt", text="What is\na monad?", response_id=None, created_at=""),),
        tools=(tool_row(error="no such file"),),
        calls=(call_row(), call_row(id="c", call="compaction", cost_nano_usd=None)),
    )
    found = read("".join(render(session(), [timeline(made)])))
    for text in (
        *("Session s-1", "$0.0123 + 1 unpriced", "What is\na monad?", "answer not recorded"),
        *("path: /x", "no such file", "$0.0123 (anthropic/opus-1", "compaction: ", "unpriced: "),
    ):
        assert text in found.text, text


def test_hostile_records_are_text_without_control_characters() -> None:
    row = request_row(
        **dict.fromkeys(("id", "actor", "client", "model", "kind", "agent_id"), HOSTILE),
        **dict.fromkeys(("error_type", "error_message", "status"), HOSTILE),
    )
    text = TextRow(kind="thinking", text=HOSTILE, response_id=None, created_at="")
    made = detail(
        row=row,
        texts=(text, replace(text, kind="prompt")),
        tools=(tool_row(tool=HOSTILE, input=f'{{"{HOSTILE[4:10]}": 1}}', error=HOSTILE),),
        calls=(call_row(model=HOSTILE, price_source=HOSTILE, unpriced_reason=HOSTILE),),
    )
    hostile = session(id=HOSTILE, actor=HOSTILE, client=HOSTILE, models=(HOSTILE,))
    html = "".join(render(hostile, [timeline(made)]))
    found = read(html)
    assert found.tags == TAGS & found.tags
    assert found.attributes <= {
        *("lang", "charset", "http-equiv", "content", "name", "id", "class"),
    }
    assert all(char.isprintable() or char == "\n" for char in html)
    assert "{{ 7*7 }}" in found.text
    assert "alert(1)" in found.text


def test_file_loads_nothing_and_forbids_scripts() -> None:
    html = "".join(render(session(), [timeline(detail())]))
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert not {"script", "link", "img", "iframe", "a"} & read(html).tags
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_huge_texts_are_bounded_and_the_file_says_so() -> None:
    text = TextRow(kind="prompt", text="x" * 3 * MAX_CHARACTERS, response_id=None, created_at="")
    html = "".join(render(session(), [timeline(detail(texts=(text,)))]))
    assert len(html) < 2 * MAX_CHARACTERS
    assert "400 kB more were left out" in html


def test_file_is_rendered_request_by_request() -> None:
    def endless() -> object:
        while True:
            yield timeline(detail())

    pieces = render(session(), endless())  # type: ignore[arg-type]
    assert "<h1>" in next(pieces)
    assert "<article" in next(pieces)


@pytest.mark.parametrize("text", ["a\tb\nc", "é世界", ""])
def test_ordinary_text_is_kept(text: str) -> None:
    assert clean(text) == text
