"""Converts the result of an MCP call into a `ToolResult`; nothing is dropped silently. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import mcp_types as types
import pydantic

from aibridge_addon.formats.central_tool import ResultPart, ToolResult
from aibridge_addon.formats.images import image_part
from aibridge_addon.raw_json import text

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Replaces NUL, which hosts that store requests refuse."""
_NOT_STRUCTURED = "[This tool promises structured content; it gave only text.]"


def read_result(
    result: types.CallToolResult,
    hide: Callable[[str], str] = lambda message: message,
    *,
    is_structured: bool = False,
) -> ToolResult:
    """Convert the parts of a result, in order; describe those that cannot be passed on.

    Blank texts are left out, since providers refuse them.

    Args:
        result: of the call.
        hide: removes secrets from an error, which may quote the request.
        is_structured: True if the tool promises structured content.
    """
    parts = [
        part for part in map(_part, result.content) if part.kind == "image" or part.text.strip()
    ]
    if result.is_error:
        parts = [replace(part, text=hide(part.text)) for part in parts]
    structured = result.structured_content
    texts = [part for part in parts if part.kind == "text"]
    if structured is not None and not _is_in_text(structured, texts):
        parts.append(ResultPart(kind="other", text=_json(structured)))
    if is_structured and structured is None and parts and not result.is_error:
        parts.append(ResultPart(kind="text", text=_NOT_STRUCTURED))
    if not parts:
        nothing = "The tool failed and gave no reason." if result.is_error else "(no output)"
        parts.append(ResultPart(kind="text", text=nothing))
    parts = [replace(part, text=part.text.replace("\0", _REPLACEMENT)) for part in parts]
    return ToolResult(parts=tuple(parts), is_error=result.is_error)


def _part(block: types.ContentBlock) -> ResultPart:
    match block:
        case types.TextContent():
            return ResultPart(kind="text", text=text(block.text) or "")
        case types.ImageContent():
            return image_part(block.data, block.mime_type)
        case types.AudioContent():
            size = len(block.data)
            return ResultPart(
                kind="other", text=f"[{block.mime_type} audio, {size} characters of base64]"
            )
        case types.EmbeddedResource():
            return _resource_part(block.resource)
        case _:
            return ResultPart(kind="other", text=_json(_dumped(block)))


def _resource_part(
    resource: types.TextResourceContents | types.BlobResourceContents,
) -> ResultPart:
    kind = resource.mime_type or "resource"
    if isinstance(resource, types.TextResourceContents):
        return ResultPart(kind="text", text=f"[{kind} {resource.uri}]\n{resource.text}")
    if kind.lower().startswith("image/"):
        return image_part(resource.blob, kind)
    size = len(resource.blob)
    return ResultPart(kind="other", text=f"[{kind} {resource.uri}, {size} characters of base64]")


def _is_in_text(structured: Any, texts: Sequence[ResultPart]) -> bool:
    """Return True if the text repeats the structured content; most servers send both."""
    parsed = [_loaded(part.text) for part in texts]
    candidates = [structured]
    if isinstance(structured, dict) and structured.keys() == {"result"}:  # wrapped by the SDKs
        candidates.append(structured["result"])
    plain = [part.text for part in texts]
    return any(
        value in parsed or parsed == value or (isinstance(value, str) and value in plain)
        for value in candidates
    )


def _loaded(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def _dumped(model: pydantic.BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _json(value: Any) -> str:
    try:
        return text(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) or ""
    except RecursionError:
        return "[structured content that is nested too deeply to be given]"


MAX_IMAGES = 16 * 1024 * 1024
"""Characters of all images of a result; each wire format also limits a single image."""


def fitting(result: ToolResult, limit: int) -> ToolResult:
    """Cut the texts of a result to a number of bytes, with a note; images have their own limit."""
    total = sum(map(_size, result.parts))
    images = sum(len(part.data) for part in result.parts)
    if total <= limit and images <= MAX_IMAGES:
        return result
    kept = list(_within(result.parts, limit))
    left_out = len(result.parts) - len(kept)
    note = f"[cut: the result has {total} bytes, and {limit} are given"
    note += f"; its images {images}, and {MAX_IMAGES} are given" if images > MAX_IMAGES else ""
    note += f"; {left_out} of its {len(result.parts)} parts are left out]" if left_out else "]"
    kept.append(ResultPart(kind="text", text=note))
    return ToolResult(parts=tuple(kept), is_error=result.is_error)


def _within(parts: Iterable[ResultPart], remaining: int) -> Iterator[ResultPart]:
    remaining_images = MAX_IMAGES
    for part in parts:
        size = _size(part)
        if part.kind == "image":
            remaining_images -= len(part.data)
            if remaining_images >= 0:
                yield part
        elif size <= remaining:
            remaining -= size
            yield part
        elif remaining:
            kept = part.text.encode(errors="replace")[:remaining].decode(errors="ignore")
            remaining = 0
            if kept.strip():
                yield ResultPart(kind=part.kind, text=kept)


def _size(part: ResultPart) -> int:
    return len(part.text.encode(errors="replace"))
