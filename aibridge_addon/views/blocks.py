"""Lays out text in lines: wrapped, indented, and bounded however large its source is. Pure."""

import textwrap
from collections.abc import Iterable, Iterator

from aibridge_addon.raw_json import JSON, arguments, encode
from aibridge_addon.report.numbers import count

WIDTH = 92
"""Columns of a line: mitmweb does not wrap, and shows about as many beside its list."""
BLANK = " "
"""An empty line, which mitmweb would leave out without the space."""
_RULE = 72
_LONGEST_LINE = 5000
"""Characters of a line that are shown."""
_SHORT = 80
"""Characters of JSON among other words of a line."""


def heading(title: str) -> str:
    """Return the line that begins a message."""
    return f"── {title} " + "─" * max(3, _RULE - len(title) - 4)


def paragraph(text: str, *, most: int, indent: str = "") -> Iterator[str]:
    """Wrap a text; after `most` lines, state how many more there are."""
    source = text.strip("\n").splitlines()
    lines = (line for given in source for line in _wrapped(given, WIDTH - len(indent)))
    for number, line in enumerate(lines):
        if number == most:
            yield f"{indent}… {count(len(text))} characters in {count(len(source))} lines"
            return
        yield f"{indent}{line}".rstrip() or BLANK


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    more = len(line) - _LONGEST_LINE
    wrapped = textwrap.wrap(
        line[:_LONGEST_LINE],
        width,
        replace_whitespace=False,
        break_on_hyphens=False,
        subsequent_indent=line[: len(line) - len(line.lstrip())][: width // 2],
    )
    return [*wrapped, f"… {count(more)} more characters"] if more > 0 else wrapped


def listing(label: str, names: Iterable[str]) -> str:
    """Return names as a wrapped list behind a label."""
    return textwrap.fill(
        f"{label}: {', '.join(names)}", WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )


def argument_lines(given: str, *, most: int, indent: str) -> Iterator[str]:
    """Lay out the arguments of a call; texts of several lines keep their lines."""
    value = arguments(given)
    if not isinstance(value, dict):
        yield from paragraph(given, most=most, indent=indent)
        return
    for name, member in value.items():
        yield from paragraph(_argument(name, member), most=most, indent=indent)


def _argument(name: str, value: JSON) -> str:
    if isinstance(value, str):
        return f"{name}:\n{textwrap.indent(value, '  ')}" if "\n" in value else f"{name}: {value}"
    return f"{name}: {encode(value)}"


def json_line(value: JSON, most: int = _SHORT) -> str:
    """Return JSON in a line, cut after `most` characters."""
    text = encode(value)
    return text if len(text) <= most else f"{text[: max(0, most - 1)]}…"
