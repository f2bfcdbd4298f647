"""Patterns of events that a reader may skip: pieces of text, which are most of a stream.

Matching their usual spelling costs a fraction of reading them. Not a parser: a match is a run of
complete events with valid JSON (though perhaps not UTF-8) that would change no fact; events that a
pattern misses are read.
"""

import re
from collections.abc import Mapping

# All repetitions are possessive: no input makes them slower than linear.
STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
NUMBER = "(?:0|[1-9][0-9]{0,17})"
_NOTHING = r"(?:null|\[\])"
_SCALAR = f"(?:{STRING}|{NUMBER}|{_NOTHING}|true|false)"


def scalars(*empty: str) -> str:
    """Return a pattern of a member with a scalar value; members of these names only if empty."""
    names = "|".join(empty)
    return f'(?:"(?!(?:{names})")[a-z_]++": ?{_SCALAR}|"(?:{names})": ?{_NOTHING})'


def whole(members: Mapping[str, str], *, beside: str | None = None) -> str:
    """Return a pattern of an object with these members in this order, and others among them.

    `beside` is a pattern of another member; it must not match any of the given members.
    """
    before = f"(?:{beside}, ?)*+" if beside else ""
    after = f"(?:, ?{beside})*+" if beside else ""
    given = f"{after}, ?".join(f'"{name}": ?{value}' for name, value in members.items())
    return rf"\{{{before}{given}{after} *+\}}"


def events(data: str) -> re.Pattern[bytes]:
    """Return a pattern of a run of events with such data, whatever their names."""
    return re.compile(rf"(?:(?:event: [a-z._]++\n)?+data: {data}\n\n)++".encode())
