"""Full-text search by the index over the words of texts, newest first."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page, SearchHit
from aibridge_addon.report.search_text import MATCH_END, MATCH_START, Term, parse
from aibridge_addon.store.connection import ALL, Connection
from aibridge_addon.store.postgres.search_words import VECTOR
from aibridge_addon.store.sql.reports.found_texts import Found, to_page
from aibridge_addon.store.sql.reports.requests import chosen_requests, number_of, where

_BEFORE, _AFTER = 80, 160
"""Characters of a snippet before and after its first match."""
_MARKERS = str.maketrans({MATCH_START: " ", MATCH_END: " "})


def read(connection: Connection, text: str, query: RequestQuery) -> Page[SearchHit]:
    """Return texts that contain the words of a text, newest first.

    Raises:
        SearchTextError: the text cannot be searched for.
    """
    terms = [(term, _words(connection, term)) for term in parse(text)]
    chosen = chosen_requests(query)
    if query.cursor:
        chosen.add(f"x.id < CAST({chosen.bind(str(number_of(query.cursor)))} AS BIGINT)")
    limit = ALL if query.limit is None else query.limit + 1
    vector = VECTOR.replace("(text)", "(x.text)")
    rows = connection.execute(
        "SELECT x.id, x.interception_id, x.kind, x.text FROM aibridge_search_texts x"  # noqa: S608
        " JOIN aibridge_interceptions i ON i.id = x.interception_id"
        f" WHERE {vector} @@ CAST(:match AS tsquery) AND {where(chosen)}"
        " ORDER BY x.id DESC LIMIT :limit",
        chosen.values | {"match": _match(terms), "limit": limit},
    ).fetchall()
    pattern = _pattern(terms)
    found: list[Found] = [(n, id_, kind, snippet(text, pattern)) for n, id_, kind, text in rows]
    return to_page(connection, found, query)


type _Words = list[tuple[Term, list[str]]]


def _words(connection: Connection, term: Term) -> list[str]:
    (words,) = connection.execute("SELECT aibridge_words(?)", [term.text]).fetchone()
    return str(words).split()


def _match(terms: _Words) -> str:
    """Return terms as a query; their words are letters and digits."""
    parts = []
    for term, words in terms:
        phrase = " <-> ".join(f"'{word}'" for word in words) + ":*" * term.is_prefix
        parts.append(f"{'!' * term.is_excluded}({phrase})")
    return " & ".join(parts)


def _pattern(terms: _Words) -> re.Pattern[str]:
    """Return the pattern of the words, in a text without diacritics and capitals."""
    wanted = (
        r"[\W_]+".join(map(re.escape, words)) + (r"[^\W_]*" if term.is_prefix else "")
        for term, words in terms
        if not term.is_excluded
    )
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(wanted)})(?![^\W_])")


def snippet(text: str, pattern: re.Pattern[str]) -> str:
    """Return the part of a text around the first match, with all matches in it marked."""
    text = text.translate(_MARKERS)
    folded, places = _fold(text)
    spans = [(places[m.start()], places[m.end() - 1] + 1) for m in pattern.finditer(folded)]
    at = spans[0][0] if spans else 0
    start, end = max(0, at - _BEFORE), min(len(text), at + _AFTER)
    marked = "".join(_marked(text, start, end, spans))
    return f"{'…' * (start > 0)}{marked}{'…' * (end < len(text))}"


def _marked(text: str, start: int, end: int, spans: Iterable[tuple[int, int]]) -> Iterator[str]:
    position = start
    for begin, finish in spans:
        if finish > end:
            break
        yield f"{text[position:begin]}{MATCH_START}{text[begin:finish]}{MATCH_END}"
        position = finish
    yield text[position:end]


def _fold(text: str) -> tuple[str, list[int]]:
    """Return a text without diacritics and capitals, and the place of each of its characters."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", character.lower()):
            if not unicodedata.combining(part):
                folded.append(part)
                places.append(place)
    return "".join(folded), places
