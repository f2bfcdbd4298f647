"""Has the `mcp` package read JSON that its strict parser refuses.

Half of a surrogate pair, or a value that is nested deeply, in one description or result would
otherwise lose the whole message, and with it the call or the connection. Half pairs are replaced.
"""

from typing import Any

import mcp_types
import pydantic
from mcp.client import streamable_http

from aibridge_addon.raw_json import decode, encode


class _LenientAdapter:
    """Parses messages as the original does; where that fails over the JSON, leniently."""

    def __init__(self, strict: pydantic.TypeAdapter[Any]) -> None:
        self._strict = strict

    def validate_json(self, data: str | bytes, **options: Any) -> Any:
        """Return the message in some JSON.

        Raises:
            ValidationError: it is no message.
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
    """Have all transports of the `mcp` package read leniently."""
    # It offers no way to do so; each transport looks the adapter up where it is put here.
    if not isinstance(mcp_types.jsonrpc_message_adapter, _LenientAdapter):
        lenient: Any = _LenientAdapter(mcp_types.jsonrpc_message_adapter)
        for module in (mcp_types, streamable_http):
            vars(module)["jsonrpc_message_adapter"] = lenient
