"""Templates, and filters that turn values into text. Everything but `Markup` is escaped."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aibridge_addon import __version__
from aibridge_addon.report import numbers
from aibridge_addon.report.money import UNKNOWN, usd
from aibridge_addon.report.other_calls import in_place_of_prompt
from aibridge_addon.report.readable_json import readable
from aibridge_addon.web.markdown import markdown

MOST_CHARACTERS = 100_000
"""Characters of a text that a page shows."""
_FOLDER = Path(__file__).parent


@cache
def environment() -> Environment:
    """Return the environment of all templates, which compiles each once."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": usd,
        "count": numbers.count,
        "short": numbers.short_count,
        "percent": numbers.percent,
        "duration": numbers.duration,
        "name": printable,
        "ago": ago,
        "exact": exact_time,
        "bytes": numbers.size,
        "cut": cut,
        "first_words": first_words,
        "json": json_text,
        "markdown": markdown,
        "pretty": readable,
        "in_place_of_prompt": in_place_of_prompt,
    }
    made.globals |= {"version": __version__, "asset": _asset_urls(), "unknown": UNKNOWN}
    return made


def printable(text: str | None) -> str:
    """Return a name on one line: control and direction characters become U+FFFD."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text or ""
    )


def ago(moment: str | None) -> str:
    """Return the age of a time: `12 s`, `5 min`, `3 h`, `2 d`; a date if it is older."""
    if not moment:
        return UNKNOWN
    then = datetime.fromisoformat(moment)
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    for unit, length, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 24), ("d", 86400, 14)):
        if seconds < length * most:
            return f"{seconds // length} {unit} ago"
    return f"{then.astimezone():%Y-%m-%d}"


def exact_time(moment: str | None) -> str:
    """Return a time in full, in the zone of this machine."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S %Z}" if moment else ""


def cut(text: str) -> str:
    """Return the beginning of a long text."""
    more = len(text) - MOST_CHARACTERS
    return (
        f"{text[:MOST_CHARACTERS]}\n… {more:,} more characters: see the export"
        if more > 0
        else text
    )


def first_words(text: str) -> str:
    """Return the beginning of a text on one line."""
    return printable(" ".join(text[:200].split())[:80]) + "…"


def json_text(value: object) -> str:
    """Return a value as JSON for a person."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _asset_urls() -> dict[str, str]:
    """Return the URLs of the static files, which change with their content."""
    return {
        path.name: f"/static/{path.name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        for path in (_FOLDER / "static").iterdir()
    }
