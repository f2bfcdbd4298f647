"""Shell patterns in lists of names: providers, models, actors and clients. Pure."""

from collections.abc import Collection
from fnmatch import fnmatchcase


def matches_any(value: str | None, patterns: Collection[str]) -> bool:
    """Return True if a value is one of these names or matches one of these shell patterns.

    An empty list matches everything; an unknown value (None) matches an empty list only.
    """
    # An exact name comes first: model names such as `opus[1m]` are patterns by accident.
    return not patterns or (
        value is not None
        and any(value == pattern or fnmatchcase(value, pattern) for pattern in patterns)
    )
