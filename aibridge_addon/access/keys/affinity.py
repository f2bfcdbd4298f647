"""Affinity: the conversation of a request, and the provider's state that it carries. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

from aibridge_addon.access.keys.bindings import LONG_SECONDS, SECONDS
from aibridge_addon.raw_json import (
    JSON,
    elements,
    mapping,
    member,
    members,
    read,
    sequence,
    text,
)

_STATE = re.compile(
    rb'"(?:encrypted_content|previous_(?:response|interaction)_id|signature|thought_?[sS]ignature|(?:input_)?file_id'
    rb'|container|cachedContent|item_reference)"\s*:\s*"[^"]'
    rb'|"conversation"\s*:\s*["{]'
    rb'|"type"\s*:\s*"(?:redacted_thinking|item_reference)"'
)
"""State that only the organization that made it accepts. Members of a schema have no text value,
and quotes within a text are escaped."""
_STORED = re.compile(
    rb'"(?:(?:input_)?file_id|container|cachedContent)"\s*:\s*"[^"]|"conversation"\s*:\s*["{]'
)
"""Objects that a request outside of the conversation has made."""
_STORED_PATH = re.compile(
    r"/(?:responses|batches|files|uploads|containers|conversations|vector_stores|cachedContents"
    r"|interactions|videos|skills|fine_tuning/jobs)(?:[/:]([^/:?]+))?(?=[/:?]|$)"
)
"""Paths of objects that the provider stores."""
_MOST_LEADING = 8
"""Messages among which the first of the user is looked for: instructions precede it."""
_LONG_CACHE = re.compile(rb'"ttl"\s*:\s*"1h"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """The conversation of a request, as the choice of a key needs it."""

    id: str
    is_bound: bool = False
    """True if the request carries state of an organization."""
    previous_response_id: str | None = None
    idle_seconds: float = SECONDS
    """Time after which the provider has no cache of an idle conversation."""


def affinity_of(actor: str, session: str | None, body: bytes) -> Affinity:
    """Return the affinity of a request.

    Its id is the session's, else the key of its prompt cache, else the actor with the system prompt
    and the first message, else the actor.

    Args:
        actor: id of the sender.
        session: the client's id of the session.
        body: the decoded body.
    """
    found = members(body) or {}
    is_bound = _STATE.search(body) is not None
    if is_bound and _STORED.search(body):
        return affinity_of_path(actor, "/files")
    own = session or text(member(found, "prompt_cache_key"))
    if own is None:
        own = _beginning(mapping(read(body)))
    return Affinity(
        id=f"{actor}\0{own}" if own else actor,
        is_bound=is_bound,
        previous_response_id=text(member(found, "previous_response_id")),
        idle_seconds=LONG_SECONDS if _LONG_CACHE.search(body) else SECONDS,
    )


def affinity_of_path(actor: str, path: str) -> Affinity:
    """Return the affinity of a request whose body is not read, or that makes a stored object.

    All objects that an actor stores are in one organization, so that any process finds them. An
    object that belongs to a response is read with the key of the response.
    """
    found = _STORED_PATH.search(path.partition("?")[0])
    if found is None:
        return Affinity(id=actor)
    object_id = unquote(found[1]) if found[1] else None
    return Affinity(id=f"{actor}\0stored", is_bound=True, previous_response_id=object_id)


def _beginning(request: dict[str, JSON]) -> str | None:
    """Return a digest of the system prompt and the first message of the user."""
    system = (
        request.get("system") or request.get("instructions") or request.get("systemInstruction")
    )
    history = request.get("messages") or request.get("input") or request.get("contents")
    if isinstance(history, str):
        history = [{"role": "user", "content": history}]
    leading: list[str] = [_text_of(system)]
    for message in map(mapping, sequence(history)):
        leading.append(_text_of(message.get("content") or message.get("parts")))
        if message.get("role") == "user":
            break
    if not any(leading):
        return None
    return hashlib.blake2b("\0".join(leading).encode(), digest_size=16).hexdigest()


def beginning_of(request: Mapping[str, msgspec.Raw]) -> str | None:
    """Return a digest of the first message of the user; None if a request has none."""
    for name in ("messages", "input", "contents"):
        if (given := request.get(name)) is None:
            continue
        for element in elements(given)[:_MOST_LEADING] or [given]:
            message = read(element)
            said = {"role": "user", "content": message} if isinstance(message, str) else message
            if isinstance(said, dict) and said.get("role", "user") == "user":
                content = _text_of(said.get("content") or said.get("parts"))
                return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
    return None


def _text_of(content: JSON) -> str:
    """Return the text of a content; marks such as `cache_control` move between requests."""
    if isinstance(content, dict):
        content = content.get("parts") or [content]
    if isinstance(content, list):
        return "\n".join(text(mapping(part).get("text")) or "" for part in content)
    return text(content) or ""
