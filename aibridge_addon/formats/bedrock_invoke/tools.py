"""Central tools in InvokeModel: those of Anthropic Messages, streamed in AWS frames. Sans-io."""

from aibridge_addon.formats.anthropic_messages.splicer import Splicer
from aibridge_addon.formats.anthropic_messages.tools import MessagesTools
from aibridge_addon.formats.decoders.aws_frames import chunk_frame
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, encode

_OF_CLAUDE = "anthropic_version"
"""Member that requests to Claude must have, and requests to other models do not."""


class InvokeTools(MessagesTools):
    """Offers central tools in requests to Claude."""

    def may_offer(self, request: Members) -> bool:
        """Return whether the request is to Claude, and the client lets it choose."""
        return _OF_CLAUDE in request and super().may_offer(request)

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""
        return Splicer(names, _framed)


def _framed(data: dict[str, JSON]) -> bytes:
    return chunk_frame(encode(data).encode())
