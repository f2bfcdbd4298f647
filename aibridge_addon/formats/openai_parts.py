"""Reads content parts and tool definitions of OpenAI's APIs, of either and of their imitators."""

from collections.abc import Iterator
from dataclasses import replace

from aibridge_addon.formats.content import Part, ToolDefinition
from aibridge_addon.formats.parts import file_part, other_part, text_part
from aibridge_addon.raw_json import JSON, encode, mapping, sequence, text

_TEXTS = frozenset({"text", "input_text", "output_text", "summary_text"})
_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text"})
"""Parts that the readers of thoughts read."""


def read_content(content: JSON) -> Iterator[Part]:
    """Read content: a text, or parts; those that are thoughts are left out."""
    if isinstance(content, str):
        if content:
            yield text_part(content)
        return
    for part in sequence(content):
        if isinstance(part, str):
            yield text_part(part)
        elif isinstance(part, dict) and text(part.get("type")) not in _THOUGHTS:
            yield _read_part(part)


def _read_part(part: dict[str, JSON]) -> Part:
    kind = text(part.get("type")) or ""
    if kind in _TEXTS:
        return text_part(part.get("text"))
    match kind:
        case "refusal":
            return Part(kind="text", name="refusal", text=text(part.get("refusal")) or "")
        case "image_url" | "input_image":
            image = part.get("image_url")
            url = image if isinstance(image, str) else mapping(image).get("url")
            return file_part("image", url=url or part.get("file_id"))
        case "input_audio":
            audio = mapping(part.get("input_audio"))
            return file_part("audio", data=audio.get("data"), media_type=audio.get("format"))
        case "file" | "input_file":
            return _read_file(mapping(part.get("file")) or part)
    return other_part(part)


def _read_file(file: dict[str, JSON]) -> Part:
    return file_part(
        "document",
        data=file.get("file_data"),
        url=file.get("file_url") or file.get("file_id"),
        name=file.get("filename"),
    )


def read_tools(given: JSON) -> Iterator[ToolDefinition]:
    """Read the definition of a tool; those of a namespace have its name before theirs."""
    tool = mapping(given)
    kind = text(tool.get("type")) or ""
    function = mapping(tool.get(kind)) if kind in ("function", "custom") else {}
    function = function or tool
    name = text(function.get("name"))
    if kind == "namespace":
        for inner in sequence(tool.get("tools")):
            for found in read_tools(inner):
                yield replace(found, name=f"{name or ''}.{found.name}")
        return
    schema = next((function[m] for m in ("parameters", "format") if m in function), None)
    yield ToolDefinition(
        name=name or text(tool.get("server_label")) or kind,
        description=text(function.get("description")) or "",
        schema=encode(given if schema is None else schema),
    )
