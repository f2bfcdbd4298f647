"""Output limit and number of candidates in requests of the Gemini API. Sans-io."""

from collections.abc import Mapping

import msgspec

from aibridge_addon.formats.gemini.envelope import inner_request, request_member
from aibridge_addon.formats.gemini.names import member_named, named, spelling
from aibridge_addon.formats.output_limits import choices_in
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member, with_values

_CONFIG = "generationConfig"
_CONFIGS = (_CONFIG, "generation_config")
_CANDIDATES = ("candidateCount", "candidate_count")
_LIMIT = "maxOutputTokens"


def output_limit(members: Members) -> int | None:
    """Return the most output tokens that a request allows; None if it states no limit."""
    return count(named(member_named(inner_request(members), _CONFIG), _LIMIT))


def candidates(members: Members) -> int:
    """Return the number of candidates that a request asks for."""
    inner = inner_request(members)
    configs = [mapping(member(inner, name)) for name in _CONFIGS]
    return choices_in(*(config.get(name) for config in configs for name in _CANDIDATES))


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
