"""Makes the result of a tool call acceptable to the `mcp` package, block by block. Pure.

The package validates a result as a whole, so that one odd block would lose the result of a call
that has run, and the model would run it again. Odd blocks become text.
"""

from collections.abc import Mapping
from typing import Any

import mcp_types as types
import pydantic

from aibridge_addon.raw_json import JSON, encode, mapping, text

_MEMBERS = ("content", "structuredContent", "isError")
_block: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(types.ContentBlock)
_UNUSED = frozenset({"_meta", "annotations", "icons"})
"""Members of a block that models do not get, but which can be illegal."""
_BINARY = frozenset({"blob", "data"})


def is_call_result(result: Mapping[str, JSON]) -> bool:
    """Return whether a result of the server is that of a tool call."""
    return any(name in result for name in _MEMBERS)


def sift(result: dict[str, JSON]) -> None:
    """Change a result of a tool call, in place, into one that the `mcp` package accepts."""
    result["content"] = [_acceptable(block) for block in _blocks(result.get("content"))]
    structured = result.pop("structuredContent", None)
    if structured is not None:
        is_object = isinstance(structured, dict)
        result["structuredContent"] = structured if is_object else {"result": structured}
    is_error = result.get("isError")
    result["isError"] = is_error is True or str(is_error).lower() in ("true", "yes", "1")
    for name, kind in (("_meta", dict), ("resultType", str)):
        if not isinstance(result.get(name), kind):
            result.pop(name, None)


def _blocks(content: JSON) -> list[JSON]:
    if content is None:
        return []
    return content if isinstance(content, list) else [content]


def _acceptable(block: JSON) -> dict[str, JSON]:
    """Return a block that is legal MCP: as it is, without what is unused, or described."""
    if isinstance(block, str):
        return {"type": "text", "text": block}
    given = mapping(block)
    plain = {name: value for name, value in given.items() if name not in _UNUSED}
    for candidate in (given, plain, {"mimeType": "", **plain}):
        if _is_legal(candidate):
            return candidate
    if isinstance(said := plain.get("text"), str):
        return {"type": "text", "text": said}
    return {"type": "text", "text": text(encode(_without_binary(block))) or ""}


def _is_legal(block: dict[str, JSON]) -> bool:
    try:
        _block.validate_python(block, by_name=False)
    except pydantic.ValidationError:
        return False
    return True


def _without_binary(block: JSON) -> JSON:
    """Return a block with the size of binary data in place of the data."""
    if not isinstance(block, dict):
        return block
    return {
        name: f"[{len(value)} characters of base64]"
        if name in _BINARY and isinstance(value, str)
        else _without_binary(value)
        for name, value in block.items()
    }
