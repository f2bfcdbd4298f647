"""What an MCP server answers a call with, as a `ToolResult`: nothing is silently dropped. Pure."""

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
"""In place of NUL, which hosts that store requests refuse."""
_NOT_STRUCTURED = "[This tool promises structured content; it gave only text.]"


def read_result(
    result: types.CallToolResult,
    hide: Callable[[str], str] = lambda said: said,
    *,
    is_structured: bool = False,
) -> ToolResult:
    """Map what a tool gave, in order; what cannot be given is described.

    An error is passed through `hide`: it may quote how the server was asked. Blank texts are left
    out, since APIs refuse them. `is_structured` says that the tool promises structured content.
    """
    parts = [
        part for part in map(_part, result.content) if part.kind == "image" or part.text.strip()
    ]
    if result.is_error:
        parts = [replace(part, text=hide(part.text)) for part in parts]
    structured = result.structured_content
    if structured is not None and not _is_said(structured, [p for p in parts if p.kind == "text"]):
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


def _is_said(structured: Any, texts: Sequence[ResultPart]) -> bool:
    """Whether the text says what the structured content says; most servers send both."""
    said = [_loaded(part.text) for part in texts]
    meant = [structured]
    if isinstance(structured, dict) and structured.keys() == {"result"}:  # wrapped by the SDKs
        meant.append(structured["result"])
    plain = [part.text for part in texts]
    return any(
        value in said or said == value or (isinstance(value, str) and value in plain)
        for value in meant
    )


def _loaded(said: str) -> Any:
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return said


def _dumped(model: pydantic.BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _json(value: Any) -> str:
    try:
        return text(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) or ""
    except RecursionError:
        return "[structured content that is nested too deeply to be given]"


MAX_IMAGES = 16 * 1024 * 1024
"""Characters of all images of a result; each API has a limit for one image besides."""


def fitting(result: ToolResult, limit: int) -> ToolResult:
    """Cut the texts of a result to a number of bytes, and say so; images have their own limit."""
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


def _within(parts: Iterable[ResultPart], left: int) -> Iterator[ResultPart]:
    left_of_images = MAX_IMAGES
    for part in parts:
        size = _size(part)
        if part.kind == "image":
            left_of_images -= len(part.data)
            if left_of_images >= 0:
                yield part
        elif size <= left:
            left -= size
            yield part
        elif left:
            kept = part.text.encode(errors="replace")[:left].decode(errors="ignore")
            left = 0
            if kept.strip():
                yield ResultPart(kind=part.kind, text=kept)


def _size(part: ResultPart) -> int:
    return len(part.text.encode(errors="replace"))
