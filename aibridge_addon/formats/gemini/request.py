"""Reads requests of the Gemini API. Sans-io.

Model and streaming are in the path, except that Code Assist names the model in the body.
"""

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from aibridge_addon.facts import RequestFacts
from aibridge_addon.facts.model_names import plain_model
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.gemini.envelope import inner_request
from aibridge_addon.formats.gemini.names import member_named, named, raw_named
from aibridge_addon.formats.gemini.reader import parts_of
from aibridge_addon.formats.prompts import TrailingTurn, beginnings, drop_prefill, trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, elements, mapping, member, read, sequence, text

_STREAMING = ":streamGenerateContent"
_RESULT_ROLES = ("function", "tool")


def read_request(request: RequestView) -> RequestFacts:
    """Read a request."""
    outer = dict(request.members)
    inner = inner_request(outer)
    turn = _read_trailing_turn(contents_of(inner))
    prompt_id = text(member_named(outer, "userPromptId"))
    return RequestFacts(
        model=_model(request.path_values, outer, inner),
        streaming=unquote(request.path).endswith(_STREAMING),
        billing_labels=_billing_labels(inner),
        user_texts=turn.user_texts,
        position=turn.position,
        prefilled=turn.prefilled,
        system=beginnings(texts_of(member_named(inner, "systemInstruction"))),
        correlating_tool_call_id=turn.tool_call_id,
        session_hint=text(member_named(inner, "sessionId")),
        prompt_id=prompt_id,
    )


def contents_of(request: Members) -> list[msgspec.Raw]:
    """Return the conversation; a lone content or text stands for an array of one."""
    given = raw_named(request, "contents")
    if given is None or bytes(given).lstrip()[:1] == b"[":
        return elements(given)
    return [given]


def texts_of(content: JSON) -> list[str]:
    """Return the texts of a content, which may be given as a text."""
    if isinstance(content, str):
        return [text(content) or ""]
    parts = [named(part, "text") for part in parts_of(content) if not _is_thought(part)]
    return [text(part) or "" for part in parts if isinstance(part, str)]


def _is_thought(part: JSON) -> bool:
    return named(part, "thought") is True


_NAMED_BY_PATH = (
    ("", "model"),
    ("tunedModels/", "tuned_model"),
    ("dynamic/", "dynamic"),
    ("endpoints/", "endpoint"),
)
"""Prefixes of a model's name in the record, and the names of values in paths."""


def _model(values: Mapping[str, str], outer: Members, inner: Members) -> str | None:
    """Return the model: of the path, or else of the body."""
    for kind, name in _NAMED_BY_PATH:
        if name in values:
            return kind + (text(values[name]) or "")
    given = text(member(outer, "model")) or text(member(inner, "model"))
    return plain_model(given) if given else None


def _billing_labels(inner: Members) -> dict[str, str]:
    """Return the service tier."""
    tier = text(member_named(inner, "serviceTier"))
    return {"service_tier": tier.lower()} if tier else {}


def _read_trailing_turn(left: list[msgspec.Raw]) -> TrailingTurn:
    """Read the contents of the user after the last response, and the last result among them."""
    turn: list[JSON] = []
    before: list[str] = []
    prefilled = drop_prefill(left, _is_text_of_the_model)
    while left:
        content = read(left.pop())
        if mapping(content).get("role") == "model":
            before = texts_of(content)
            break
        turn.append(content)
    return trailing_turn(
        [texts_of(content) for content in turn if not _is_result(content)],
        index=len(left),
        before=before,
        tool_call_id=_last_result(turn),
        prefilled=prefilled,
    )


def _is_text_of_the_model(content: JSON) -> bool:
    """Return True for a response of text alone."""
    parts = parts_of(content)
    return mapping(content).get("role") == "model" and not any(
        named(part, "functionCall") is not None or named(part, "thoughtSignature") for part in parts
    )


def _is_result(content: JSON) -> bool:
    return mapping(content).get("role") in _RESULT_ROLES


def _last_result(turn: list[JSON]) -> str | None:
    """Return the id of the call that the last result belongs to; the newest content is first."""
    for content in turn:
        for part in reversed(sequence(mapping(content).get("parts"))):
            if found := text(mapping(named(part, "functionResponse")).get("id")):
                return found
    return None
