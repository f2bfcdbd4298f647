"""A session as one HTML file that needs no script, no network and no other file.

Everything that a client, provider or tool sent is escaped by the template, and control characters
are replaced. The policy in its head forbids whatever could be loaded or run all the same.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aibridge_addon.report.money import usd
from aibridge_addon.report.notes import spent
from aibridge_addon.report.numbers import count, duration, percent, size
from aibridge_addon.report.readable_json import readable
from aibridge_addon.report.rows import SessionRow
from aibridge_addon.report.timeline import Timeline

MAX_CHARACTERS = 200_000
"""Longest text of a part; the rest is left out, and the page says so."""
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_SHORT = 600
"""Longest text that is shown unfolded where long texts are folded."""


def render(session: SessionRow, timelines: Iterable[Timeline]) -> Iterator[str]:
    """Yield the file in pieces: the head, each request, and the end."""
    parts = _templates()
    yield parts.begin(session, datetime.now(UTC))
    for timeline in timelines:
        yield parts.request(timeline)
    yield parts.end()


def clean(text: object) -> str:
    """Return a text with control characters replaced, bounded in length."""
    shown = str(text or "")
    if len(shown) > MAX_CHARACTERS:
        rest = len(shown) - MAX_CHARACTERS
        shown = f"{shown[:MAX_CHARACTERS]}\n… {size(rest)} more were left out"
    shown = shown.replace("\r\n", "\n")
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", shown)


@cache
def _templates() -> Any:
    """Return the macros of the template; it is loaded when the first file is rendered."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("aibridge_addon.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value,
    )
    environment.filters |= {
        "clean": clean,
        "readable": readable,
        "count": count,
        "size": size,
        "usd": usd,
        "money": spent,
        "duration": duration,
        "percent": percent,
        "is_short": lambda text: len(text) <= _SHORT,
        "moment": lambda text: f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC",
    }
    return environment.get_template("session.html").module
