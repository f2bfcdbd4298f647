"""Compares the conversation of a request with the previous request of its session. Pure.

Readable content is compared, so that moved cache markers and re-encoded bodies are not changes.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aibridge_addon.formats.content import Conversation, Message
from aibridge_addon.raw_json import encode

MAX_COMPARED = 400
"""Most messages or lines that are compared one by one; more count as replaced."""
_CONTEXT = 2
"""Unchanged lines that are shown around a changed line of the system prompt."""
_CONTINUED = frozenset({"previous_response_id", "conversation"})
"""Parameters that name a conversation that the provider holds."""
_BILLING = "x-anthropic-billing-header:"
"""Beginning of a block of Claude Code's system prompt that differs in every request."""

type ChangeKind = Literal["added", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageChange:
    """A message that only one of the two requests has."""

    kind: ChangeKind
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChange:
    """A line of the system prompts; `same`: a line around a changed line."""

    kind: Literal["added", "removed", "same", "skipped"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """A tool or parameter that differs; None: the request has none of this name."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationDiff:
    """Changes from one request to the next."""

    continues: bool = False
    """True if the provider holds the earlier messages, so that the request has only new ones."""
    kept: int = 0
    """Messages that both requests have."""
    messages: tuple[MessageChange, ...] = ()
    system: tuple[LineChange, ...] = ()
    """Changed lines of the system prompt; empty if it is the same."""
    tools: tuple[ValueChange, ...] = ()
    parameters: tuple[ValueChange, ...] = ()
    """The model is one of them."""

    @property
    def is_empty(self) -> bool:
        """True if both requests are the same."""
        return not (self.messages or self.system or self.tools or self.parameters)

    def of_kind(self, kind: ChangeKind) -> tuple[Message, ...]:
        """Return the added or the removed messages."""
        return tuple(change.message for change in self.messages if change.kind == kind)


def diff(previous: Conversation, current: Conversation) -> ConversationDiff:
    """Return the changes from the previous request to the current one."""
    continues = any(current.parameters.get(name) for name in _CONTINUED)
    before = () if continues else previous.messages
    changes = tuple(_message_changes(before, current.messages))
    return ConversationDiff(
        continues=continues,
        kept=len(current.messages) - sum(change.kind == "added" for change in changes),
        messages=changes,
        system=tuple(_line_changes(system_text(previous), system_text(current))),
        tools=tuple(_value_changes(_tools(previous), _tools(current))),
        parameters=tuple(_value_changes(_parameters(previous), _parameters(current))),
    )


def system_text(conversation: Conversation) -> str:
    """Return the system prompt, without the block that differs in every request."""
    texts = (part.text for part in conversation.system)
    return "\n".join(text for text in texts if not text.startswith(_BILLING))


def _message_changes(
    before: Sequence[Message], after: Sequence[Message]
) -> Iterator[MessageChange]:
    for kind, messages in _differing(before, after):
        if kind != "same":
            yield from (MessageChange(kind=kind, message=message) for message in messages)


def _differing[T](
    before: Sequence[T], after: Sequence[T]
) -> Iterator[tuple[Literal["added", "removed", "same"], Sequence[T]]]:
    """Yield runs of items that only one sequence has, or both, in order."""
    start = _common_start(before, after)
    end = _common_start(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    yield "same", after[:start]
    if max(len(old), len(new)) > MAX_COMPARED:
        yield "removed", old
        yield "added", new
    else:
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
            if tag == "equal":
                yield "same", new[new_start:new_end]
                continue
            yield "removed", old[old_start:old_end]
            yield "added", new[new_start:new_end]
    yield "same", after[len(after) - end :]


def _common_start[T](one: Sequence[T], other: Sequence[T]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _line_changes(before: str, after: str) -> Iterator[LineChange]:
    if before == after:
        return
    runs = [run for run in _differing(before.splitlines(), after.splitlines()) if run[1]]
    for number, (kind, lines) in enumerate(runs):
        if kind == "same":
            yield from _shortened(lines, is_first=not number, is_last=number == len(runs) - 1)
        else:
            yield from (LineChange(kind=kind, text=line) for line in lines)


def _shortened(lines: Sequence[str], *, is_first: bool, is_last: bool) -> Iterator[LineChange]:
    """Yield the ends of a run of unchanged lines that are next to a changed line."""
    head = 0 if is_first else _CONTEXT
    tail = 0 if is_last else _CONTEXT
    skipped = len(lines) - head - tail
    if skipped <= 1:
        yield from (LineChange(kind="same", text=line) for line in lines)
        return
    yield from (LineChange(kind="same", text=line) for line in lines[:head])
    yield LineChange(kind="skipped", text=f"{skipped:,} unchanged lines")
    yield from (LineChange(kind="same", text=line) for line in lines[len(lines) - tail :])


def _tools(conversation: Conversation) -> Mapping[str, str]:
    return {tool.name: f"{tool.description}\n{tool.schema}" for tool in conversation.tools}


def _parameters(conversation: Conversation) -> Mapping[str, str]:
    named = {"model": conversation.model} if conversation.model is not None else {}
    others = {k: v for k, v in conversation.parameters.items() if k not in _CONTINUED}
    return {name: encode(value) for name, value in (named | others).items()}


def _value_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[ValueChange]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield ValueChange(name=name, before=before.get(name), after=after.get(name))
