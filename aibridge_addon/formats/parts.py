"""Helpers for the parts of the content model: sizes, types and texts. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from aibridge_addon.formats.content import Part, PartKind
from aibridge_addon.raw_json import JSON, encode, mapping, text

_TEXTS = ("text", "content")


def text_part(given: JSON, kind: PartKind = "text") -> Part:
    """Return a part with a text."""
    return Part(kind=kind, text=text(given) or "")


def other_part(given: JSON) -> Part:
    """Return a part of a kind that has no place in the model, with its text or else its JSON."""
    part = mapping(given)
    own = next((found for name in _TEXTS if (found := text(part.get(name)))), None)
    return Part(kind="other", name=text(part.get("type")), text=own or json_text(given))


def json_text(given: JSON) -> str:
    """Return a value as JSON; a string as it is, empty if missing."""
    if given is None:
        return ""
    return text(given) or "" if isinstance(given, str) else encode(given)


def file_part(
    kind: PartKind, *, data: JSON = None, url: JSON = None, media_type: JSON = None, **more: JSON
) -> Part:
    """Return an image, document or audio without its data, which is base64 or a `data:` URL."""
    address = text(url) or text(data) or ""
    content = text(data)
    if address.startswith("data:"):
        head, _, content = address.removeprefix("data:").partition(",")
        media_type = head.partition(";")[0]
        address = ""
    return Part(
        kind=kind,
        text=text(more.get("text")) or (address if url else ""),
        name=text(more.get("name")),
        media_type=text(media_type) or None,
        size=base64_size(content) if content else None,
    )


def base64_size(data: str) -> int:
    """Return the number of bytes that a base64 text stands for."""
    return len(data.rstrip("=")) * 3 // 4


def hidden_part(kind: PartKind, data: JSON, name: str | None = None) -> Part:
    """Return a part whose content is encrypted, with its size."""
    encrypted = text(data)
    return Part(kind=kind, name=name, size=base64_size(encrypted) if encrypted else None)


def result_text(parts: Iterable[Part]) -> str:
    """Return the content of a tool's result as one text; anything else is named in brackets."""
    return "\n".join(part.text or _bracketed(part) for part in parts)


def _bracketed(part: Part) -> str:
    if part.kind == "text":
        return ""
    facts = (part.name or part.kind, part.media_type, part.size and f"{part.size} bytes")
    return f"[{' '.join(fact for fact in facts if fact)}]"


def joined_texts(parts: Iterable[Part]) -> list[Part]:
    """Join neighbouring texts, which some hosts stream as a list of fragments."""
    found: list[Part] = []
    for part in parts:
        if found and part.kind == found[-1].kind == "text" and part.name == found[-1].name:
            part = replace(part, text=found.pop().text + part.text)
        found.append(part)
    return found
