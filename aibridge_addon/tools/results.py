"""What an MCP server answers a call with, as a `ToolResult`: nothing is silently dropped. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import mcp_types as types
import pydantic

from aibridge_addon.tools.model import ResultPart, ToolResult


def read_result(
    result: types.CallToolResult, hide: Callable[[str], str] = lambda text: text
) -> ToolResult:
    """Map what a tool gave, in order; what cannot be given is described.

    An error is passed through `hide`: it may quote how the server was asked.
    """
    parts = [_part(block) for block in result.content]
    if result.is_error:
        parts = [replace(part, text=hide(part.text)) for part in parts]
    structured = result.structured_content
    if structured is not None and not _is_said(structured, [p for p in parts if p.kind == "text"]):
        parts.append(ResultPart(kind="other", text=_json(structured)))
    if not parts:
        text = "The tool failed and gave no reason." if result.is_error else "(no output)"
        parts.append(ResultPart(kind="text", text=text))
    return ToolResult(parts=tuple(parts), is_error=result.is_error)


def _part(block: types.ContentBlock) -> ResultPart:
    match block:
        case types.TextContent():
            return ResultPart(kind="text", text=block.text)
        case types.ImageContent():
            return ResultPart(kind="image", data=block.data, media_type=block.mime_type)
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


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _dumped(model: pydantic.BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fitting(result: ToolResult, limit: int) -> ToolResult:
    """Cut a result to a number of bytes, and say so."""
    total = sum(map(_size, result.parts))
    if total <= limit:
        return result
    kept = list(_within(result.parts, limit))
    left_out = len(result.parts) - len(kept)
    note = f"[cut: the result has {total} bytes, and {limit} are given"
    note += f"; {left_out} of its {len(result.parts)} parts are left out]" if left_out else "]"
    kept.append(ResultPart(kind="text", text=note))
    return ToolResult(parts=tuple(kept), is_error=result.is_error)


def _within(parts: Iterable[ResultPart], left: int) -> Iterator[ResultPart]:
    for part in parts:
        size = _size(part)
        if size <= left:
            left -= size
            yield part
        elif left and part.kind != "image":
            text = part.text.encode(errors="replace")[:left].decode(errors="ignore")
            left = 0
            yield ResultPart(kind=part.kind, text=text)


def _size(part: ResultPart) -> int:
    return len(part.text.encode(errors="replace")) + len(part.data)
