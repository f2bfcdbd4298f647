"""Shell patterns in lists of names: providers, models, actors and clients. Pure."""

import unicodedata
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import lru_cache


def matches_any(value: str | None, patterns: Collection[str]) -> bool:
    """Return True if a value is one of these names or matches one of these shell patterns.

    An empty list matches everything; an unknown value (None) matches an empty list only.
    """
    # An exact name comes first: model names such as `opus[1m]` are patterns by accident.
    return not patterns or (
        value is not None
        and any(value == pattern or fnmatchcase(value, pattern) for pattern in patterns)
    )


def matches_any_spelling(model: str | None, patterns: Collection[str]) -> bool:
    """Return True if a model matches, in any spelling that a provider may take for the same.

    For what restricts models. Case, full-width letters, invisible characters and surrounding
    blanks make no difference.
    """
    return matches_any(model, patterns) or (
        model is not None and matches_any(_plain(model), tuple(map(_plain, patterns)))
    )


@lru_cache(maxsize=2048)
def _plain(text: str) -> str:
    compatible = unicodedata.normalize("NFKC", text)
    visible = "".join(c for c in compatible if unicodedata.category(c) not in ("Cf", "Cc", "Mn"))
    return visible.strip().casefold()
