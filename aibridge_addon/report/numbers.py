"""Numbers as text: counts, percentages, durations and small bars."""

from aibridge_addon.report.money import UNKNOWN

_BLOCKS = " ▏▎▍▌▋▊▉█"
_STEPS = len(_BLOCKS) - 1
_UNITS = ((10**3, "k"), (10**6, "M"), (10**9, "G"), (10**12, "T"))


def count(number: int | None) -> str:
    """Return a number with separators: `1,234,567`."""
    return UNKNOWN if number is None else f"{number:,}"


def short_count(number: int | None) -> str:
    """Return a number in at most five characters: `1,234`, `12.3k`, `4.56M`."""
    if number is None:
        return UNKNOWN
    if number < 10_000:
        return f"{number:,}"
    for size, unit in _UNITS:
        if round(number / size) < 1000:
            return f"{_three_digits(number / size)}{unit}"
    return f"{number:.0e}"


def size(number: int | None) -> str:
    """Return a number of bytes or characters: `340 B`, `12.3 kB`, `4.56 MB`."""
    if number is None:
        return UNKNOWN
    text = f"{number}" if number < 1000 else short_count(max(number, 10_000))
    if 1000 <= number < 10_000:
        return f"{number / 1000:.2f} kB"
    return f"{text.rstrip('kMGT')} {text.lstrip('0123456789.')}B"


def percent(share: float | None) -> str:
    """Return a share as a percentage: `0%`, `<1%`, `73%`; 100% only if it is all."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.01:
        return "<1%"
    return "99%" if 0.99 < share < 1 else f"{share:.0%}"


def duration(milliseconds: int | None) -> str:
    """Return a duration: `340ms`, `2.4s`, `3m12s`, `2h05m`."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    seconds = round(milliseconds / 1000)
    if seconds < 60:
        return f"{milliseconds / 1000:.1f}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


def bar(value: float, largest: float, width: int) -> str:
    """Return a bar of at most `width` characters; a value above zero shows at least a line."""
    if value <= 0 or largest <= 0:
        return ""
    steps = max(1, round(min(value / largest, 1) * width * _STEPS))
    whole, rest = divmod(steps, _STEPS)
    return "█" * whole + _BLOCKS[rest].strip()


def _three_digits(number: float) -> str:
    for digits in (2, 1):
        text = f"{number:.{digits}f}"
        if len(text) <= 4:
            return text
    return f"{number:.0f}"
