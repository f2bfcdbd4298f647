"""Full-text search, with and without FTS5."""

import re
from collections.abc import Iterable
from typing import Any

import pytest
from databases import Database, SQLiteFile
from store.doubles import prompt, started, thought, tool

from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import SearchHit
from aibridge_addon.report.search_text import SearchTextError
from aibridge_addon.store.sqlite import search_index

TEXTS = (
    "How do I parse JSON in Rust?",
    "Explain well-known ports, naïvely.",
    'Say "quoted" and C++ AND foo.bar()',
)


@pytest.fixture
def reports(database: Database) -> Reports:
    for text in TEXTS:
        one = started()
        database.write(one, prompt(one, text))
    two = started(initiator_id="bob")
    database.write(two, thought(two, "Rust is iron oxide."), tool(two, input={"q": "rusty\nnails"}))
    return database.reports


@pytest.fixture(params=["index", "plain"])
def either(
    request: pytest.FixtureRequest,
    database: Database,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
) -> Reports:
    if request.param == "plain":
        without_index(database, monkeypatch)
    return reports


def without_index(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(database, SQLiteFile):
        pytest.skip("PostgreSQL always has an index")
    monkeypatch.setattr(search_index, "has_fts5", lambda connection: False)


def found(reports: Reports, text: str, **query: Any) -> list[str]:
    return plain(reports.search(text, RequestQuery(**query)).rows)


def plain(hits: Iterable[SearchHit]) -> list[str]:
    return [hit.snippet.replace("\x02", "[").replace("\x03", "]") for hit in hits]


@pytest.mark.parametrize(
    ("text", "snippets"),
    [
        ("json", ["How do I parse [JSON] in Rust?"]),
        ("rust json", ["How do I parse [JSON] in [Rust]?"]),
        ('"parse json"', None),
        ('"json parse"', []),
        ("rust -json", ["[Rust] is iron oxide."]),
        ('"quoted"', None),
        ("foo.bar()", None),
    ],
)
def test_words_and_phrases_are_found(
    either: Reports, text: str, snippets: list[str] | None
) -> None:
    hits = found(either, text, kinds=("turn",))
    if snippets is None:
        assert len(hits) == 1
    else:
        assert [
            hit for hit in hits if "rusty" not in re.sub(r"[\[\]]", "", hit.lower())
        ] == snippets


def test_beginnings_and_words_without_diacritics_are_found(reports: Reports) -> None:
    assert found(reports, "rust*")[0] == "Read\n[rusty]\nnails"
    assert len(found(reports, "rust")) == 2
    assert len(found(reports, "naive*")) == 1


@pytest.mark.parametrize("text", ["C++", "AND", "NOT OR NEAR(", "a^b", "col:umn", "'", 'x"y"'])
def test_no_character_is_an_operator(reports: Reports, text: str) -> None:
    try:
        reports.search(text, RequestQuery())
    except SearchTextError:
        assert text == "'"


def test_search_shows_the_kind_of_text_and_its_request(reports: Reports) -> None:
    (hit,) = reports.search("iron", RequestQuery()).rows
    assert (hit.source, hit.request.actor) == ("thought", "bob")
    (hit,) = reports.search("nails", RequestQuery()).rows
    assert hit.source == "arguments"


def test_search_without_an_index_says_so(
    database: Database, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reports.search("rust", RequestQuery()).note == ""
    without_index(database, monkeypatch)
    assert "no full-text search (FTS5)" in reports.search("rust", RequestQuery()).note


def test_search_honours_filters_and_access(either: Reports) -> None:
    assert len(found(either, "rust", for_actor="alice")) == 1
    assert found(either, "rust", for_actor="alice", actors=("bob",)) == []
    assert len(found(either, "iron", actors=("bob",))) == 1


def test_pages_show_every_hit_once(either: Reports) -> None:
    cursor, seen = "", []
    while True:
        page = either.search("rust", RequestQuery(limit=1, cursor=cursor))
        seen += plain(page.rows)
        if not (cursor := page.next_cursor):
            break
    assert seen == plain(either.search("rust", RequestQuery()).rows)
    assert len(seen) == len(set(seen)) > 1


def test_marks_in_a_text_are_no_matches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = started()
    database.write(one, prompt(one, "a \x02false\x03 true match"))
    assert found(database.reports, "match") == ["a  false  true [match]"]
    without_index(database, monkeypatch)
    assert found(database.reports, "match") == ["a  false  true [match]"]
