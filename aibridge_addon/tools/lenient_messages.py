"""Makes the `mcp` package accept JSON that its strict parser refuses.

A lone surrogate or a deeply nested value in a description or result would otherwise lose the
message, and with it the call or the connection. Lone surrogates are replaced.
"""

from typing import Any

import mcp_types
import pydantic
from mcp.client import streamable_http

from aibridge_addon.raw_json import decode, encode


class _LenientAdapter:
    """Parses messages with the original adapter, and leniently if the JSON is refused."""

    def __init__(self, strict: pydantic.TypeAdapter[Any]) -> None:
        self._strict = strict

    def validate_json(self, data: str | bytes, **options: Any) -> Any:
        """Parse a message.

        Raises:
            ValidationError: the data is not a valid message.
        """
        try:
            return self._strict.validate_json(data, **options)
        except pydantic.ValidationError as error:
            if error.errors(include_input=False)[0]["type"] != "json_invalid":
                raise
            try:
                raw = data.encode() if isinstance(data, str) else bytes(data)
                message = decode(encode(decode(raw)).encode())
            except (ValueError, RecursionError):
                raise error from None
            return self._strict.validate_python(message, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)


def install() -> None:
    """Make all transports of the `mcp` package parse leniently."""
    # The package has no option for it; each transport looks the adapter up in these modules.
    if not isinstance(mcp_types.jsonrpc_message_adapter, _LenientAdapter):
        lenient: Any = _LenientAdapter(mcp_types.jsonrpc_message_adapter)
        for module in (mcp_types, streamable_http):
            vars(module)["jsonrpc_message_adapter"] = lenient
