"""Remembers the credentials that open requests came with, so that the record never holds them."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache

MOST_REQUESTS = 10_000
"""Number of requests whose credentials are remembered: the newest."""
SHORTEST = 12
"""Characters of a credential; anything shorter may be a word."""

_WORDS = re.compile(r"[^\s;,=\"']+")


class Credentials:
    """Credentials by interception; they are in memory only."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._kept: tuple[str, ...] = ()
        """Credentials that are cut out of every request."""

    def keep(self, credentials: Iterable[str]) -> None:
        """Cut some credentials out of every request, in place of those that were given before."""
        self._kept = tuple({word for word in credentials if len(word) >= SHORTEST})

    def add(self, interception_id: str, header_values: Iterable[bytes]) -> None:
        """Remember the words of the values of secret headers."""
        words = _words_of(tuple(header_values))
        if not words:
            return
        self._by_id[interception_id] = words
        if len(self._by_id) > MOST_REQUESTS:
            self._by_id.popitem(last=False)

    def of(self, interception_id: str) -> tuple[str, ...]:
        """Return the credentials of a request, the longest first."""
        return (*self._by_id.get(interception_id, ()), *self._kept)


@lru_cache(maxsize=1000)
def _words_of(header_values: Sequence[bytes]) -> tuple[str, ...]:
    """Return the words of some headers, longest first; all requests with these share a tuple."""
    words = {
        word
        for value in header_values
        for word in _WORDS.findall(value.decode("utf-8", "replace"))
        if len(word) >= SHORTEST
    }
    return tuple(sorted(words, key=len, reverse=True))
