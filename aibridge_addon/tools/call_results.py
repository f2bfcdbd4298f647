"""Makes the result of a tool call acceptable to the `mcp` package, block by block. Pure.

The package validates a result as a whole, so that one odd block would lose the result of a call
that has run, and the model would run it again. Odd blocks become text. A result without anything
that can be read stays an error.
"""

from collections.abc import Mapping

import pydantic
from mcp_types.methods import validate_server_result
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from aibridge_addon.raw_json import JSON, encode, mapping

_MEMBERS = ("content", "structuredContent", "isError")
_COMPLETE: dict[str, JSON] = {"resultType": "complete"}
_VERSIONS = (LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION)
"""The package checks results by the rules of one of two versions of the protocol."""
MAX_MENDED = 1_000
"""Most blocks of an odd result: each is checked by itself, while all clients wait."""
_UNUSED = frozenset({"_meta", "annotations", "icons"})
"""Members of a block that models do not receive, but that can be illegal."""
_KINDS = frozenset({"audio", "image", "resource", "resource_link", "text"})
_BINARY = frozenset({"blob", "data"})


def is_call_result(result: Mapping[str, JSON]) -> bool:
    """Return True if a result of the server belongs to a tool call."""
    return any(name in result for name in _MEMBERS)


def sift(result: dict[str, JSON]) -> None:
    """Change a result of a tool call, in place, into one that the `mcp` package accepts."""
    blocks = [] if result.get("content") is None else result["content"]
    structured = result.get("structuredContent")
    if not isinstance(blocks, list):
        return
    if not _fit(blocks):
        if structured is None and not any(map(_is_readable, blocks[:MAX_MENDED])):
            return
        blocks = _mended(blocks)
    result["content"] = blocks
    result.pop("structuredContent", None)
    if structured is not None:
        is_object = isinstance(structured, dict)
        result["structuredContent"] = structured if is_object else {"result": structured}
    is_error = result.get("isError")
    result["isError"] = is_error is True or str(is_error).lower() in ("true", "yes", "1")
    for name, kind in (("_meta", dict), ("resultType", str)):
        if not isinstance(result.get(name), kind):
            result.pop(name, None)


def _mended(blocks: list[JSON]) -> list[JSON]:
    mended = [_acceptable(block) for block in blocks[:MAX_MENDED]]
    if left_out := len(blocks) - len(mended):
        mended.append({"type": "text", "text": f"[{left_out} further parts are left out]"})
    return mended


def _is_readable(block: JSON) -> bool:
    """Return True if a block has readable content, even in a type that is unknown here."""
    given = mapping(block)
    kind = given.get("type")
    is_unknown = isinstance(kind, str) and kind not in _KINDS
    return isinstance(block, str) or is_unknown or _legal(given) is not None or "text" in given


def _acceptable(block: JSON) -> dict[str, JSON]:
    """Return a block that is legal MCP: unchanged, without unused members, or described."""
    given = mapping(block)
    if (legal := _legal(given)) is not None:
        return legal
    text = block if isinstance(block, str) else given.get("text")
    described = text if isinstance(text, str) else encode(_without_binary(block))
    return {"type": "text", "text": described}


def _legal(block: dict[str, JSON]) -> dict[str, JSON] | None:
    """Return a block without the members that make it illegal; None if that is not enough."""
    plain = {name: value for name, value in block.items() if name not in _UNUSED}
    for candidate in (block, plain, {"mimeType": "", **plain}):
        if _fit([candidate]):
            return candidate
    return None


def _fit(blocks: list[JSON]) -> bool:
    result = _COMPLETE | {"content": blocks}
    try:
        for version in _VERSIONS:
            validate_server_result("tools/call", version, result)
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
