"""The words that a person searches for, and the snippets that a search finds. Pure.

Words must all occur; `"…"` is a phrase, `word*` the beginning of a word, `-word` excludes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MATCH_START, MATCH_END = "\x02", "\x03"
"""Characters around each match in a snippet."""
MAX_TERMS = 50
_TOKENS = re.compile(r'\s*(-?)(?:"([^"]*)"|([^\s"]+))(\*?)')


class SearchTextError(ValueError):
    """The text cannot be searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word or phrase."""

    text: str
    is_prefix: bool = False
    """True if the last word may go on."""
    is_excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A piece of a snippet."""

    text: str
    is_match: bool = False


def parse(text: str) -> tuple[Term, ...]:
    """Return the terms of a search.

    Raises:
        SearchTextError: a quote is not closed, a term has no word, or all are excluded.
    """
    if text.count('"') % 2:
        raise SearchTextError(f"the quote at character {text.rindex('"') + 1} is not closed")
    terms = tuple(_term(match) for match in _TOKENS.finditer(text))
    if len(terms) > MAX_TERMS:
        raise SearchTextError(f"there are more than {MAX_TERMS} words; search for fewer")
    if not any(not term.is_excluded for term in terms):
        raise SearchTextError("there is no word to search for")
    return terms


def _term(match: re.Match[str]) -> Term:
    minus, phrase, word, star = match.groups()
    text = word if phrase is None else phrase
    is_prefix = bool(star) or (phrase is None and text.endswith("*"))
    text = text.removesuffix("*") if phrase is None else text
    if not any(char.isalnum() for char in text):
        raise SearchTextError(f"{match[0].strip()[:100]!r} has no letter or digit to search for")
    return Term(text=text, is_prefix=is_prefix, is_excluded=bool(minus))


def fragments(snippet: str) -> Iterator[Fragment]:
    """Yield the pieces of a snippet, with its matches told apart."""
    is_match = False
    for piece in re.split(f"([{MATCH_START}{MATCH_END}])", snippet):
        if piece in (MATCH_START, MATCH_END):
            is_match = piece == MATCH_START
        elif piece:
            yield Fragment(text=piece, is_match=is_match)
