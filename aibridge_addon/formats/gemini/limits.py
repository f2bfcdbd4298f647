"""Output limit and number of candidates in requests of the Gemini API. Sans-io."""

from aibridge_addon.formats.gemini.envelope import inner_request
from aibridge_addon.formats.output_limits import Places, choices_in, in_members, places
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import mapping, member

_CONFIGS = ("generationConfig", "generation_config")
_CANDIDATES = ("candidateCount", "candidate_count")
_ENVELOPES = ("request", "generateContentRequest", "generate_content_request")

LIMITS = places("maxOutputTokens", "max_output_tokens", within=_CONFIGS)
"""Limits in a request itself, in each spelling: Google's APIs read both."""
ENVELOPED_LIMITS: Places = {**LIMITS, **in_members(_ENVELOPES, LIMITS)}


def candidates(members: Members) -> int:
    """Return the number of candidates that a request asks for."""
    inner = inner_request(members)
    configs = [mapping(member(inner, name)) for name in _CONFIGS]
    return choices_in(*(config.get(name) for config in configs for name in _CANDIDATES))
