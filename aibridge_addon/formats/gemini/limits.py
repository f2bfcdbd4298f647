"""The limit of output tokens in requests of the Gemini API. Sans-io."""

from collections.abc import Mapping

import msgspec

from aibridge_addon.formats.gemini.envelope import inner_request, request_member
from aibridge_addon.formats.gemini.names import member_named, named, spelling
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, with_values

_CONFIG = "generationConfig"
_LIMIT = "maxOutputTokens"


def output_limit(members: Members) -> int | None:
    """Return the most output tokens that a request allows; None if it states no limit."""
    return count(named(member_named(inner_request(members), _CONFIG), _LIMIT))


def lowered_output_limit(members: Members, most: int) -> Mapping[str, JSON]:
    """Return the member that allows more output tokens than `most`, with a lower value.

    Every other byte of the member stays as it is.
    """
    if (output_limit(members) or 0) <= most:
        return {}
    inner = inner_request(members)
    config = spelling(inner, _CONFIG)
    limit = spelling(mapping(member_named(inner, _CONFIG)), _LIMIT)
    lowered = msgspec.Raw(with_values(bytes(inner[config]), {limit: most}))
    if (envelope := request_member(members)) is None:
        return {config: lowered}
    return {envelope: msgspec.Raw(with_values(bytes(members[envelope]), {config: lowered}))}
