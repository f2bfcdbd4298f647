"""OpenAI Responses, compaction: `POST /responses/compact`. Sans-io.

The answer is the conversation in short: messages of the user and an opaque item, with the usage of
the pass that made it. It is no turn of the model: nothing in it is a call or a thought of now.
"""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.openai_errors import error_body
from aibridge_addon.formats.openai_responses import reader
from aibridge_addon.formats.openai_responses.reader import response_reader

__all__ = ["NAME", "error_body", "read_answer", "read_request", "response_reader"]

NAME = "openai_responses_compact"


def read_request(body: Mapping[str, msgspec.Raw]) -> RequestFacts:
    """Read a request, given its members: the whole conversation, in which nobody speaks now."""
    facts = reader.read_request(body)
    nothing_said = replace(facts, said=(), position=None, correlating_tool_call_id=None)
    return replace(nothing_said, request_kind="compaction")


def read_answer(body: bytes) -> ResponseFacts:
    """Read a compacted conversation, or an error."""
    return replace(reader.read_answer(body), tool_calls=(), thoughts=())
