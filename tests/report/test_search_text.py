"""Syntax of searches, and the fragments of snippets."""

import pytest

from aibridge_addon.report.search_text import (
    MAX_TERMS,
    Fragment,
    SearchTextError,
    Term,
    fragments,
    parse,
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("two words", [Term(text="two"), Term(text="words")]),
        ('"a phrase" x', [Term(text="a phrase"), Term(text="x")]),
        ("begin*", [Term(text="begin", is_prefix=True)]),
        ('"a phr"*', [Term(text="a phr", is_prefix=True)]),
        ("this -that", [Term(text="this"), Term(text="that", is_excluded=True)]),
        ("foo.bar() AND c++", [Term(text="foo.bar()"), Term(text="AND"), Term(text="c++")]),
        ("well-known", [Term(text="well-known")]),
        ('x"y z"', [Term(text="x"), Term(text="y z")]),
    ],
)
def test_search_is_read_as_words_phrases_and_beginnings(text: str, terms: list[Term]) -> None:
    assert parse(text) == tuple(terms)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no word"),
        ("  ", "no word"),
        ("-only", "no word"),
        ('an "open quote', "the quote at character 4 is not closed"),
        ("x ++", r"'\+\+' has no letter"),
        ('x ""', "has no letter"),
        ("*", "has no letter"),
        ("x " * (MAX_TERMS + 1), "more than 50 words"),
    ],
)
def test_search_without_meaning_is_refused_with_the_reason(text: str, error: str) -> None:
    with pytest.raises(SearchTextError, match=error):
        parse(text)


def test_snippet_is_divided_at_its_matches() -> None:
    assert list(fragments("a \x02b\x03 c\x02d\x03")) == [
        Fragment(text="a "),
        Fragment(text="b", is_match=True),
        Fragment(text=" c"),
        Fragment(text="d", is_match=True),
    ]
