"""Writes the content model as text: a request as a conversation, a response as a message. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from aibridge_addon.facts import TokenUsage, Usage, known_sum
from aibridge_addon.formats.content import Conversation, Message, ModelMessage, Part
from aibridge_addon.raw_json import JSON
from aibridge_addon.report.numbers import count
from aibridge_addon.views.blocks import (
    BLANK,
    argument_lines,
    heading,
    json_line,
    listing,
    paragraph,
)

_SYSTEM_LINES = 12
_TEXT_LINES = 1000
_RESULT_LINES = 60
_MOST_MESSAGES = 200
"""Messages that are shown, the last ones of a conversation."""
_INDENT = "  "
_SHOWN_PARAMETERS = 12

type Notes = Sequence[str]
"""Lines that the record adds: usage and money."""


def conversation_text(conversation: Conversation) -> str:
    """Return a request as text."""
    return "\n".join(_conversation_lines(conversation))


def message_text(message: ModelMessage, notes: Notes = ()) -> str:
    """Return a response as text; `notes` replace the usage that the response itself states."""
    return "\n".join(_response_lines(message, notes))


def _conversation_lines(conversation: Conversation) -> Iterator[str]:
    yield _first_line(conversation)
    if conversation.tools:
        label = f"{count(len(conversation.tools))} tools"
        yield listing(label, (tool.name for tool in conversation.tools))
    if conversation.system:
        yield from (BLANK, heading("system"))
        for part in conversation.system:
            yield from paragraph(_text_of(part), most=_SYSTEM_LINES)
    names = _tool_names(conversation.messages)
    hidden = len(conversation.messages) - _MOST_MESSAGES
    if hidden > 0:
        yield from (BLANK, f"… {count(hidden)} earlier messages")
    role = None
    for message in conversation.messages[-_MOST_MESSAGES:]:
        yield from _message_lines(message, names, is_continued=message.role == role)
        role = message.role


def _first_line(conversation: Conversation) -> str:
    number = len(conversation.messages)
    facts = [conversation.model or "no model", f"{count(number)} message{'s' * (number != 1)}"]
    facts += _parameters(conversation.parameters)
    return " · ".join(facts)


def _parameters(parameters: Mapping[str, JSON]) -> Iterator[str]:
    for name, value in list(parameters.items())[:_SHOWN_PARAMETERS]:
        if name == "type":  # of a message of a WebSocket
            continue
        if name == "stream":
            yield "streamed" if value is True else "not streamed"
        elif value is not None:
            yield f"{name} {value if isinstance(value, str | int | float) else json_line(value)}"


def _tool_names(messages: Iterable[Message]) -> dict[str, str]:
    """Return the names of called tools by the calls' ids."""
    calls = (part for message in messages for part in message.parts if part.kind == "tool_call")
    return {call.call_id: call.name for call in calls if call.call_id and call.name}


def _message_lines(
    message: Message, names: Mapping[str, str], *, is_continued: bool = False
) -> Iterator[str]:
    yield BLANK
    if not is_continued:
        yield heading(_label(message))
    for number, part in enumerate(message.parts):
        if number and part.kind not in ("tool_call", "tool_result"):
            yield BLANK
        yield from _part_lines(part, names)


def _label(message: Message) -> str:
    has_results_only = all(part.kind == "tool_result" for part in message.parts)
    return "tool results" if message.parts and has_results_only else message.role


def _part_lines(part: Part, names: Mapping[str, str]) -> Iterator[str]:
    match part.kind:
        case "text":
            yield from paragraph(part.text, most=_TEXT_LINES)
        case "thinking":
            yield "(thinking)" if part.text else f"(thinking, encrypted{_size(part)})"
            yield from paragraph(part.text, most=_TEXT_LINES, indent=_INDENT)
        case "tool_call":
            yield _labelled("→", part, part.name)
            yield from argument_lines(part.text, most=_RESULT_LINES, indent=_INDENT)
        case "tool_result":
            name = part.name or names.get(part.call_id or "")
            yield _labelled("← error:" if part.is_error else "←", part, name)
            yield from paragraph(part.text, most=_RESULT_LINES, indent=_INDENT)
        case _:
            yield f"[{_described(part)}]"
            yield from paragraph(part.text, most=_RESULT_LINES, indent=_INDENT)


def _labelled(mark: str, part: Part, name: str | None) -> str:
    place = "run by the provider" if part.server_side else None
    return " ".join(filter(None, (mark, name or "tool", part.call_id, place and f"({place})")))


def _described(part: Part) -> str:
    kind = part.name if part.kind == "other" else part.kind
    name = part.name if part.kind != "other" else None
    return " ".join(filter(None, (kind, name, part.media_type))) + _size(part)


def _size(part: Part) -> str:
    return "" if part.size is None else f", {count(part.size)} bytes"


def _text_of(part: Part) -> str:
    return part.text or f"[{_described(part)}]"


def _response_lines(message: ModelMessage, notes: Notes) -> Iterator[str]:
    facts = (message.model, message.response_id, message.stop_reason)
    if any(facts):
        yield " · ".join(fact for fact in facts if fact)
    yield from notes or _usage_lines(message.usage)
    if message.error:
        kinds = (message.error.type, message.error.message)
        yield f"error: {' · '.join(fact for fact in kinds if fact)}"
    elif not message.complete:
        yield "incomplete: the response did not reach its end"
    if message.message.parts:
        yield from _message_lines(message.message, _tool_names([message.message]))


def _usage_lines(usage: Usage | None) -> Iterator[str]:
    if usage is not None:
        yield usage_line(usage)


def usage_line(usage: Usage | TokenUsage) -> str:
    """Return a usage as a line: the whole input, its part from and to the cache, and the output.

    A call that is billed in another unit has the amounts in that unit instead.
    """
    if usage.input_tokens is None and usage.output_tokens is None:
        amounts = [f"{name}: {value}" for name, value in usage.extra.items()]
        return f"usage: {' · '.join(amounts)}"
    cached, written = usage.cache_read_input_tokens, usage.cache_write_input_tokens
    given = known_sum(usage.input_tokens, cached, written)
    caches = [f"{count(cached)} from cache"] * bool(cached)
    caches += [f"{count(written)} written to cache"] * bool(written)
    inside = f" ({', '.join(caches)})" if caches else ""
    return f"tokens: {_known(given)} in{inside} → {_known(usage.output_tokens)} out"


def _known(tokens: int | None) -> str:
    return "unknown" if tokens is None else count(tokens)
