"""Full-text search: texts that contain words, newest first.

Without FTS5, or without its index, texts are compared one by one: slower, and without diacritics
and word boundaries.
"""

import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import Page, SearchHit
from aibridge_addon.report.search_text import MATCH_END, MATCH_START, Term, parse
from aibridge_addon.store.connection import ALL
from aibridge_addon.store.sql.reports.found_texts import Found, to_page
from aibridge_addon.store.sql.reports.requests import chosen_requests, number_of, where
from aibridge_addon.store.sql.reports.selection import Selection
from aibridge_addon.store.sqlite import search_index

_WITHOUT_INDEX = (
    "the SQLite library here has no full-text search (FTS5): texts were compared one by one, which"
    " finds parts of words, and no words with other diacritics"
)
_SNIPPET_TOKENS = 24
_CONTEXT_CHARACTERS = 80
_MARKERS = re.compile(f"[{MATCH_START}{MATCH_END}]")


def read(connection: sqlite3.Connection, text: str, query: RequestQuery) -> Page[SearchHit]:
    """Return texts that contain the words of a text, newest first.

    Raises:
        SearchTextError: the text cannot be searched for.
    """
    terms = parse(text)
    chosen = chosen_requests(query)
    if query.cursor:
        chosen.add(f"x.id < {chosen.bind(str(number_of(query.cursor)))} + 0")
    is_indexed = search_index.has_fts5(connection) and search_index.is_indexed(connection)
    find = _find_indexed if is_indexed else _find_plain
    limit = ALL if query.limit is None else query.limit + 1
    found = list(find(connection, terms, chosen, limit))
    note = "" if is_indexed else _WITHOUT_INDEX
    return to_page(connection, found, query, note)


def match_text(terms: Iterable[Term]) -> str:
    """Return terms as an FTS5 query in which no character of theirs has a meaning."""
    wanted = [_quoted(term) for term in terms if not term.is_excluded]
    unwanted = [_quoted(term) for term in terms if term.is_excluded]
    return "".join([" AND ".join(wanted), *(f" NOT {term}" for term in unwanted)])


def _quoted(term: Term) -> str:
    text = term.text.replace('"', '""').replace("\0", " ")
    return f'"{text}"{"*" if term.is_prefix else ""}'


def _find_indexed(
    connection: sqlite3.Connection, terms: tuple[Term, ...], chosen: Selection, limit: int
) -> Iterator[Found]:
    begin, end = (f"<{secrets.token_hex(8)}>" for _ in range(2))  # no text contains them
    values: dict[str, Any] = {"match": match_text(terms), "limit": limit}
    values |= {"begin": begin, "end": end}
    rows = connection.execute(
        "SELECT x.id, x.interception_id, x.kind,"  # noqa: S608
        f" snippet(aibridge_search, 0, :begin, :end, '…', {_SNIPPET_TOKENS})"
        " FROM aibridge_search CROSS JOIN aibridge_search_texts x ON x.id = aibridge_search.rowid"
        " CROSS JOIN aibridge_interceptions i ON i.id = x.interception_id"
        f" WHERE aibridge_search MATCH :match AND {where(chosen)}"
        " ORDER BY aibridge_search.rowid DESC LIMIT :limit",
        chosen.values | values,
    )
    for number, id_, kind, snippet in rows:
        marked = _MARKERS.sub(" ", snippet).replace(begin, MATCH_START).replace(end, MATCH_END)
        yield number, id_, kind, marked


def _find_plain(
    connection: sqlite3.Connection, terms: tuple[Term, ...], chosen: Selection, limit: int
) -> Iterator[Found]:
    for term in terms:
        operator = "=" if term.is_excluded else ">"
        chosen.add(f"instr(lower(x.text), lower({chosen.bind(term.text)})) {operator} 0")
    rows = connection.execute(
        "SELECT x.id, x.interception_id, x.kind, x.text FROM aibridge_search_texts x"  # noqa: S608
        " JOIN aibridge_interceptions i ON i.id = x.interception_id"
        f" WHERE {where(chosen)} ORDER BY x.id DESC LIMIT :limit",
        chosen.values | {"limit": limit},
    )
    words = "|".join(re.escape(term.text) for term in terms if not term.is_excluded)
    for number, id_, kind, text in rows:
        yield number, id_, kind, _snippet(text, words)


def _snippet(text: str, words: str) -> str:
    text = _MARKERS.sub(" ", text)
    first = re.search(words, text, re.IGNORECASE)
    at = first.start() if first else 0
    start, end = max(0, at - _CONTEXT_CHARACTERS), at + 2 * _CONTEXT_CHARACTERS
    cut = re.sub(words, f"{MATCH_START}\\g<0>{MATCH_END}", text[start:end], flags=re.IGNORECASE)
    return f"{'…' if start else ''}{cut}{'…' if end < len(text) else ''}"
