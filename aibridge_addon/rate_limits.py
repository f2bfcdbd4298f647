"""Rate limits in the heads of responses: selects the headers, and reads them into limits. Pure.

Headers are recorded as they are and never changed on the wire. A value that cannot be read is
ignored, and what a provider does not state stays None.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from aibridge_addon.headers import Field
from aibridge_addon.reset_times import read_number, read_reset

_MAX_HEADERS = 64
_MAX_VALUE = 200
"""Characters."""
_MAX_FRACTION = 10
"""A limit that is used more often than this is a value in another unit."""
_WANTED = re.compile(
    rb"anthropic-(ratelimit|priority)-.+"
    rb"|x-ratelimit-.+|ratelimit-(limit|remaining|reset)"
    rb"|retry-after(-ms)?"
    # Other headers of Codex carry the state of a conversation.
    rb"|x-codex-(.*(primary|secondary|credits)-.+|.*-limit-name|active-limit|plan-type)",
    re.IGNORECASE,
)
_WINDOW = re.compile(r"(.+ )?\d+(min|h|d)([_-].+)?")
_HEADERS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"anthropic-ratelimit-unified-(?P<field>status|reset)", "all windows"),
        (r"anthropic-ratelimit-unified-(?P<name>.+)-(?P<field>utilization|status|reset)", ""),
        (r"anthropic-ratelimit-(?P<name>(?!unified-).+)-(?P<field>limit|remaining|reset)", ""),
        (r"anthropic-(?P<name>priority-.+)-(?P<field>limit|remaining|reset)", ""),
        (r"(?:x-)?ratelimit-(?P<field>limit|remaining|reset)", "requests"),
        (r"x-ratelimit-(?P<field>limit|remaining|reset)-(?P<name>.+)", ""),
        (
            r"x-codex-(?P<name>(?:.+-)?(?:primary|secondary))"
            r"-(?P<field>used-percent|window-minutes|reset-after-seconds|reset-at)",
            "",
        ),
        (r"(?P<field>retry-after(?:-ms)?)", "retry-after"),
    )
)
"""Patterns of headers, and the name of the limit where the header has none."""

type Seen = Mapping[str, tuple[str, datetime]]
"""Value of each header and the time when it was seen, by the header's name in lower case."""
type _Change = Mapping[str, Any]
"""Fields of a limit that a header states; none if its value cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of a provider, as its headers stated it last."""

    name: str
    """Such as `5h`, `7d`, `requests` or `input-tokens`."""
    seen_at: datetime
    used: float | None = None
    """Used fraction; it may exceed 1."""
    limit: float | None = None
    remaining: float | None = None
    status: str | None = None
    """As the provider states it, such as `allowed_warning`."""
    resets_at: datetime | None = None

    @property
    def is_window(self) -> bool:
        """True if the limit is a window of hours or days, as subscriptions have it."""
        return _WINDOW.fullmatch(self.name) is not None


def select(fields: Iterable[Field]) -> dict[str, str]:
    """Return the headers about rate limits, by their names in lower case."""
    found: dict[str, str] = {}
    for name, value in fields:
        if not _WANTED.fullmatch(name) or len(value) > _MAX_VALUE:
            continue
        text = value.decode("latin-1")
        if text.isprintable():
            found[name.lower().decode("latin-1")] = text
        if len(found) == _MAX_HEADERS:
            break
    return found


def read_retry_after(headers: Mapping[str, str], seen_at: str) -> float | None:
    """Return the seconds until a retry is accepted, at least 0; None if no header states them."""
    moment = datetime.fromisoformat(seen_at)
    milliseconds = read_number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    reset = read_reset(headers.get("retry-after", ""), moment)
    return max(0.0, (reset - moment).total_seconds()) if reset else None


def read_limits(seen: Seen) -> list[Limit]:
    """Return the limits that headers state: windows first, else in the order of the headers."""
    limits: dict[str, Limit] = {}
    minutes: dict[str, int] = {}
    for header, (value, seen_at) in seen.items():
        name, field = _parts(header)
        if field == "window-minutes":
            minutes[name] = int(read_number(value) or 0)
        elif change := _READERS.get(field, _ignored)(value.strip(), seen_at):
            known = limits.get(name) or Limit(name=name, seen_at=seen_at)
            limits[name] = replace(known, seen_at=max(known.seen_at, seen_at), **change)
    found = [_complete(limit, minutes.get(name, 0)) for name, limit in limits.items()]
    return sorted(found, key=lambda limit: not limit.is_window)


@lru_cache(maxsize=1024)
def _parts(header: str) -> tuple[str, str]:
    """Return the name of a header's limit and the field that it states; empty for other headers."""
    for pattern, name in _HEADERS:
        if match := pattern.fullmatch(header):
            return name or match["name"], match["field"]
    return "", ""


def _complete(limit: Limit, minutes: int) -> Limit:
    """Compute the used fraction, and name a window of Codex by its duration."""
    used = limit.used
    if used is None and limit.limit and limit.remaining is not None:
        used = max(0.0, 1 - limit.remaining / limit.limit)
    if not minutes:
        return replace(limit, used=used)
    family = limit.name.removesuffix("primary").removesuffix("secondary").removesuffix("-")
    return replace(limit, used=used, name=f"{family} {_duration(minutes)}".strip())


def _duration(minutes: int) -> str:
    for unit, length in (("d", 24 * 60), ("h", 60)):
        if minutes % length == 0:
            return f"{minutes // length}{unit}"
    return f"{minutes}min"


def _ignored(value: str, seen_at: datetime) -> _Change:
    return {}


def _number(field: str) -> Callable[[str, datetime], _Change]:
    def read(value: str, seen_at: datetime) -> _Change:
        number = read_number(value)
        return {} if number is None else {field: number}

    return read


def _fraction(whole: float) -> Callable[[str, datetime], _Change]:
    def read(value: str, seen_at: datetime) -> _Change:
        number = read_number(value)
        if number is None or number / whole > _MAX_FRACTION:
            return {}
        return {"used": number / whole}

    return read


def _reset(value: str, seen_at: datetime) -> _Change:
    moment = read_reset(value, seen_at)
    return {"resets_at": moment} if moment else {}


def _milliseconds(value: str, seen_at: datetime) -> _Change:
    number = read_number(value)
    if number is None or number > timedelta(days=1) / timedelta(milliseconds=1):
        return {}
    return {"resets_at": seen_at + timedelta(milliseconds=number)}


def _status(value: str, seen_at: datetime) -> _Change:
    return {"status": value} if re.fullmatch(r"[a-z_]{1,32}", value) else {}


_READERS: Mapping[str, Callable[[str, datetime], _Change]] = {
    "limit": _number("limit"),
    "remaining": _number("remaining"),
    "reset": _reset,
    "reset-at": _reset,
    "reset-after-seconds": _reset,
    "retry-after": _reset,
    "retry-after-ms": _milliseconds,
    "utilization": _fraction(1),
    "used-percent": _fraction(100),
    "status": _status,
}
