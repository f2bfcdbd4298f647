"""Reads the time at which a rate limit resets, in every notation that providers use. Pure."""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_PART = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)"
_DURATION = re.compile(rf"(?:{_PART})+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_EPOCH = 1e9
"""Smaller numbers are seconds from now, larger ones a time since 1970."""
_EPOCH_MILLISECONDS = 1e11
_FARTHEST = timedelta(days=400)
"""A reset farther away is not one."""


def read_reset(value: str, seen_at: datetime) -> datetime | None:
    """Return the time that a value names, given when it was seen; None if it names none.

    Accepts RFC 3339 and HTTP dates, seconds or milliseconds since 1970, seconds from now, and
    durations such as `6m0s` and `17ms`.
    """
    value = value.strip()
    moment = _read_relative(value, seen_at) or _read_date(value)
    if moment is None or abs(moment - seen_at) > _FARTHEST:
        return None
    return moment


def read_number(value: str) -> float | None:
    """Return a number that is not negative; None for any other text."""
    value = value.strip()
    number = float(value) if len(value) < 30 and _NUMBER.fullmatch(value) else math.inf
    return number if math.isfinite(number) else None


def _read_relative(value: str, seen_at: datetime) -> datetime | None:
    number = read_number(value)
    if number is None:
        number = _read_duration(value)
    elif number >= _EPOCH:
        since_1970 = number / 1000 if number >= _EPOCH_MILLISECONDS else number
        number = since_1970 - seen_at.timestamp()
    if number is None or abs(number) > _FARTHEST.total_seconds():
        return None
    return seen_at + timedelta(seconds=number)


def _read_duration(value: str) -> float | None:
    if len(value) > 64 or not _DURATION.fullmatch(value):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, value))


def _read_date(value: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(value)
        except (ValueError, OverflowError):
            continue
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    return None
