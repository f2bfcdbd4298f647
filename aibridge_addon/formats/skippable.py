"""Patterns of events of which nothing is recorded: the pieces of a text, most of a stream.

To find them as they are nearly always written costs a fraction of reading them. Not a parser: what
a pattern matches is whole, is valid JSON (save that bytes need not be UTF-8), and would change
nothing that its reader knows. What it misses is read like everything else.
"""

import re
from collections.abc import Mapping

# All repetitions are possessive: no input makes them slower than linear.
STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
NUMBER = "(?:0|[1-9][0-9]{0,17})"
_NOTHING = r"(?:null|\[\])"
_SCALAR = f"(?:{STRING}|{NUMBER}|{_NOTHING}|true|false)"


def scalars(*empty: str) -> str:
    """Return what matches a member that has none itself; one of these names only if empty."""
    names = "|".join(empty)
    return f'(?:"(?!(?:{names})")[a-z_]++": ?{_SCALAR}|"(?:{names})": ?{_NOTHING})'


def whole(members: Mapping[str, str], *, beside: str | None = None) -> str:
    """Return what matches an object with these members in this order, and others among them.

    `beside` is what matches another; it must not match one of the members.
    """
    before = f"(?:{beside}, ?)*+" if beside else ""
    after = f"(?:, ?{beside})*+" if beside else ""
    given = f"{after}, ?".join(f'"{name}": ?{value}' for name, value in members.items())
    return rf"\{{{before}{given}{after} *+\}}"


def events(data: str) -> re.Pattern[bytes]:
    """Return what matches a run of events with such data, whatever their names."""
    return re.compile(rf"(?:(?:event: [a-z._]++\n)?+data: {data}\n\n)++".encode())
