"""A timeline as a chat: what is new in a request, and what the client sends again. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aibridge_addon.formats.content import Message, Part
from aibridge_addon.report.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Messages of a request."""

    earlier: tuple[Message, ...]
    """Messages up to the last response of the model, which the client sends again."""
    new: tuple[Message, ...]
    tool_names: Mapping[str, str]
    """Names of the called tools by the id of the call, to name their results."""


def read_chat(timeline: Timeline) -> Chat:
    """Return the messages of a request; without its conversation, the typed prompts."""
    if timeline.conversation is None:
        new = tuple(_message("user", prompt) for prompt in timeline.prompts)
        return Chat(earlier=(), new=new, tool_names={})
    messages = timeline.conversation.messages
    roles = [message.role for message in messages]
    start = len(roles) - roles[::-1].index("assistant") if "assistant" in roles else 0
    return Chat(
        earlier=messages[:start], new=messages[start:], tool_names=dict(_named_calls(messages))
    )


def _message(role: str, text: str) -> Message:
    return Message(role=role, parts=(Part(kind="text", text=text),))


def _named_calls(messages: Iterable[Message]) -> Iterable[tuple[str, str]]:
    for message in messages:
        for part in message.parts:
            if part.kind == "tool_call" and part.call_id and part.name:
                yield part.call_id, part.name
