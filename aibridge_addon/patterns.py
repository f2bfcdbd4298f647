"""Shell patterns in lists of names: providers, models, actors and clients. Pure."""

import unicodedata
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import lru_cache

_LONGEST_KNOWN = 512
"""Length of values above which nothing is remembered: most come from clients."""


def matches_any(value: str | None, patterns: Collection[str]) -> bool:
    """Return True if a value is one of these names or matches one of these shell patterns.

    An empty list matches everything; an unknown value (None) matches an empty list only.
    """
    if not patterns or value is None:
        return not patterns
    if len(value) > _LONGEST_KNOWN:
        return _matches_any.__wrapped__(value, patterns)
    return _matches_any(value, tuple(patterns))


@lru_cache(maxsize=2048)
def _matches_any(value: str, patterns: Collection[str]) -> bool:
    # An exact name comes first: model names such as `opus[1m]` are patterns by accident.
    return any(value == pattern or fnmatchcase(value, pattern) for pattern in patterns)


def matches_any_spelling(model: str | None, patterns: Collection[str]) -> bool:
    """Return True if a model matches, in any spelling that a provider may take for the same.

    For what restricts models. Case, full-width letters, invisible characters and surrounding
    blanks make no difference.
    """
    if not patterns or model is None:
        return not patterns
    if len(model) > _LONGEST_KNOWN:
        return _matches_any_spelling.__wrapped__(model, tuple(patterns))
    return _matches_any_spelling(model, tuple(patterns))


@lru_cache(maxsize=2048)
def _matches_any_spelling(model: str, patterns: tuple[str, ...]) -> bool:
    return matches_any(model, patterns) or matches_any(
        _plain(model), tuple(_plain(pattern) for pattern in patterns)
    )


def _plain(text: str) -> str:
    compatible = unicodedata.normalize("NFKC", text)
    visible = "".join(c for c in compatible if unicodedata.category(c) not in ("Cf", "Cc", "Mn"))
    return visible.strip().casefold()
