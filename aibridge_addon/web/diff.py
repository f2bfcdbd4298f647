"""Differences between the contents of two requests of a conversation. Pure."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aibridge_addon.formats.content import Message
from aibridge_addon.formats.view import View
from aibridge_addon.report.rows import StoredMessage
from aibridge_addon.web.turn import pretty

type LineKind = Literal["same", "removed", "added", "skipped"]
_CONTEXT = 3
_MOST_LINES = 2000
"""Lines of a part that are compared one by one; comparing takes time with their square."""
_MOST_PARTS = 5000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a changed part."""

    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A part that was added, removed or changed, or a number of parts that are the same."""

    kind: Literal["same", "added", "removed", "changed"]
    title: str
    lines: tuple[Line, ...] = ()
    count: int = 1


def compare(view: View, old: Sequence[StoredMessage], new: Sequence[StoredMessage]) -> list[Change]:
    """Return the changes from the parts of a request to those of a later request."""
    old, new = old[:_MOST_PARTS], new[:_MOST_PARTS]
    matcher = difflib.SequenceMatcher(
        None, [part.digest for part in old], [part.digest for part in new], autojunk=False
    )
    found: list[Change] = []
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            found.append(Change(kind="same", title=_titles(old[i:j]), count=j - i))
        else:
            found += _replaced(view, old[i:j], new[k:m])
    return found


def _replaced(
    view: View, old: Sequence[StoredMessage], new: Sequence[StoredMessage]
) -> Iterable[Change]:
    """Yield the changes of a run of parts; parts of the same kind and role are compared."""
    pairs = min(len(old), len(new))
    while pairs and any(_title(a) != _title(b) for a, b in zip(old[:pairs], new, strict=False)):
        pairs -= 1
    for before, after in zip(old[:pairs], new[:pairs], strict=True):
        lines = tuple(_line_diff(_text(view, before), _text(view, after)))
        yield Change(kind="changed", title=_title(after), lines=lines)
    for part in old[pairs:]:
        yield Change(kind="removed", title=_title(part), lines=_all_lines(view, part, "removed"))
    for part in new[pairs:]:
        yield Change(kind="added", title=_title(part), lines=_all_lines(view, part, "added"))


def _line_diff(old: str, new: str) -> Iterable[Line]:
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > _MOST_LINES:
        yield Line("skipped", f"too long to compare: {len(before):,} and {len(after):,} lines")
        return
    kinds: dict[str, LineKind] = {" ": "same", "-": "removed", "+": "added"}
    for line in list(difflib.unified_diff(before, after, lineterm="", n=_CONTEXT))[2:]:
        yield Line("skipped", "…") if line.startswith("@@") else Line(kinds[line[0]], line[1:])


def _all_lines(view: View, part: StoredMessage, kind: LineKind) -> tuple[Line, ...]:
    lines = _text(view, part).splitlines()
    shown = [Line(kind, line) for line in lines[:_MOST_LINES]]
    more = len(lines) - len(shown)
    return (*shown, *([Line("skipped", f"… {more:,} more lines")] if more else []))


def _text(view: View, part: StoredMessage) -> str:
    found = view.read_part(part.kind, part.content)
    if isinstance(found, Message):
        return "\n".join(
            f"[{each.name or each.kind}]\n{pretty(each.text)}" if each.kind != "text" else each.text
            for each in found.parts
        )
    return pretty(part.content.decode("utf-8", "replace"))


def _title(part: StoredMessage) -> str:
    return f"{part.role} message" if part.kind == "message" else part.kind


def _titles(parts: Sequence[StoredMessage]) -> str:
    return ", ".join(dict.fromkeys(map(_title, parts)))
