"""Text of clients and providers on a terminal: no control characters, and bounded lines.

Everything that a client, provider or tool sent passes through here before it is printed.
"""

from collections.abc import Iterator

from aibridge_addon.cli.tables import printable

TAB = "    "


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, with unprintable characters replaced and tabs expanded."""
    unified = text.replace("\r\n", "\n").replace("\t", TAB)
    return [printable(line) for line in unified.split("\n")]


def width_of(text: str) -> int:
    """Return the columns that a printable text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return a text in one line of a width: control characters replaced, padded or cut."""
    text = printable(text)
    if width_of(text) > width:
        text = _cut(text, width - 1) + "…"
    padding = " " * (width - width_of(text))
    return padding + text if right else text + padding


def _cut(text: str, width: int) -> str:
    while width_of(text) > width:
        text = text[: min(len(text) - 1, width)]
    return text


def wrap(lines: list[str], width: int) -> Iterator[str]:
    """Yield lines of at most a width: broken at blanks where possible, indented as they were."""
    for line in lines:
        yield from _wrap_line(line.rstrip(), width)


def _wrap_line(line: str, width: int) -> Iterator[str]:
    indent = line[: len(line) - len(line.lstrip(" "))][: width // 2]
    begin, prefix = 0, ""
    while True:
        head = _cut(prefix + line[begin : begin + width + 1], width)
        taken = len(head) - len(prefix)
        if begin + taken >= len(line):
            yield head
            return
        blank = head.rfind(" ", width // 2)
        if blank > len(prefix) and line[begin + taken] != " ":
            head, taken = head[:blank], blank - len(prefix)
        yield head.rstrip()
        begin += taken
        while begin < len(line) and line[begin] == " ":
            begin += 1
        prefix = indent
