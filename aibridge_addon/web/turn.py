"""One request as a person reads it: what is new in it, and what came back, step by step. Pure.

A step is an upstream request. There is one, or several if central tools were called.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import Message, ModelMessage, Part, ToolDefinition
from aibridge_addon.formats.view import View
from aibridge_addon.report.rows import CallRow, InterceptionDetail, StoredMessage, ToolCallRow

RESPONSE = "response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One upstream request of a turn."""

    number: int
    calls: tuple[CallRow, ...]
    """Its billed model calls."""
    added: tuple[Message, ...]
    """Messages that the proxy added to the conversation, such as results of central tools."""
    response: ModelMessage | None
    """None if its content was not recorded."""
    tools: tuple[ToolCallRow, ...]
    """Calls of central tools in the response, which the proxy ran."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages of the step."""
        return (*self.added, *([self.response.message] if self.response else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The content of one request and its response."""

    system: tuple[Part, ...] = ()
    system_changed: bool = False
    tools: tuple[ToolDefinition, ...] = ()
    tools_changed: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    earlier: tuple[Message, ...] = ()
    """Messages that the client sends again."""
    earlier_count: int = 0
    earlier_bytes: int = 0
    new: tuple[Message, ...] = ()
    steps: tuple[Step, ...] = ()
    has_content: bool = False
    """True if the content of the request or of the response was recorded."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Names of the called tools by the id of the call, to name their results."""


def read_turn(
    detail: InterceptionDetail, previous: InterceptionDetail | None, *, with_earlier: bool = False
) -> Turn:
    """Read the stored content of a request.

    Args:
        detail: The request.
        previous: The request before it in the session.
        with_earlier: Also read the messages that the client sends again.
    """
    view = view_of(detail)
    if view is None or not detail.messages:
        return Turn(steps=tuple(_steps(None, detail)))
    request = request_parts(detail)
    messages = [part for part in request if part.kind == "message"]
    new = _start_of_new(messages)
    earlier = list(read_messages(view, messages[0 if with_earlier else max(0, new - 1) : new]))
    added, steps = list(read_messages(view, messages[new:])), list(_steps(view, detail))
    return Turn(
        system=tuple(_system(view, request)),
        system_changed=_changed(request, previous, "system"),
        tools=tuple(_tools(view, request)),
        tools_changed=_changed(request, previous, "tools"),
        parameters=_parameters(view, request),
        earlier=tuple(earlier) if with_earlier else (),
        earlier_count=new,
        earlier_bytes=sum(len(part.content) for part in messages[:new]),
        new=tuple(added),
        steps=tuple(steps),
        has_content=True,
        tool_names=_names_of_calls([*earlier, *added, *(m for s in steps for m in s.messages)]),
    )


def view_of(detail: InterceptionDetail) -> View | None:
    """Return the view of a request's wire format; None if its content cannot be read."""
    found = FORMATS.get(detail.row.api)
    return found.view if found else None


def request_parts(detail: InterceptionDetail, upstream: int = 0) -> list[StoredMessage]:
    """Return the stored parts of one upstream request."""
    return [part for part in detail.messages if part.upstream == upstream and part.kind != RESPONSE]


def read_messages(view: View, parts: Iterable[StoredMessage]) -> Iterable[Message]:
    """Yield the messages of stored parts."""
    for part in parts:
        found = view.read_part(part.kind, part.content)
        if isinstance(found, Message):
            yield found


def _names_of_calls(messages: Iterable[Message]) -> dict[str, str]:
    parts = (part for message in messages for part in message.parts)
    return {part.call_id: part.name for part in parts if part.call_id and part.name}


def _start_of_new(messages: Sequence[StoredMessage]) -> int:
    """Return the number of messages up to the last response of the model."""
    roles = [message.role for message in messages]
    return len(roles) - roles[::-1].index("assistant") if "assistant" in roles else 0


def _system(view: View, parts: Iterable[StoredMessage]) -> Iterable[Part]:
    found = read_messages(view, (part for part in parts if part.kind == "system"))
    return (part for message in found for part in message.parts)


def _tools(view: View, parts: Iterable[StoredMessage]) -> Iterable[ToolDefinition]:
    for part in parts:
        found = view.read_part(part.kind, part.content) if part.kind == "tools" else ()
        if isinstance(found, tuple):
            yield from found


def _parameters(view: View, parts: Iterable[StoredMessage]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        read = view.read_part(part.kind, part.content) if part.kind == "parameters" else {}
        if not isinstance(read, Message | tuple):
            found |= read
    return found


def _changed(
    parts: Iterable[StoredMessage], previous: InterceptionDetail | None, kind: str
) -> bool:
    """Return True if the parts of a kind differ from those of the request before."""
    if previous is None or not previous.messages:
        return False
    before = [part.digest for part in request_parts(previous) if part.kind == kind]
    return before != [part.digest for part in parts if part.kind == kind]


def _steps(view: View | None, detail: InterceptionDetail) -> Iterable[Step]:
    numbers = {part.upstream for part in detail.messages} | {row.upstream for row in detail.calls}
    central = [tool for tool in detail.tools if tool.injected]
    for number in sorted(numbers):
        calls = tuple(call for call in detail.calls if call.upstream == number)
        response = _response(view, detail, number) if view else None
        ids = {call.response_id for call in calls} | {response.response_id if response else None}
        yield Step(
            number=number,
            calls=calls,
            added=tuple(_added(view, detail, number)) if view and number else (),
            response=response,
            tools=tuple(tool for tool in central if tool.response_id in ids - {None}),
        )


def _added(view: View, detail: InterceptionDetail, number: int) -> Iterable[Message]:
    messages = [part for part in request_parts(detail, number) if part.kind == "message"]
    return read_messages(view, messages[_start_of_new(messages) :])


def _response(view: View, detail: InterceptionDetail, number: int) -> ModelMessage | None:
    for part in detail.messages:
        if part.upstream == number and part.kind == RESPONSE:
            return view.read_response(part.content)
    return None


def pretty(text: str) -> str:
    """Return JSON with indentation; any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
