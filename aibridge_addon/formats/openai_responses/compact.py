"""Compaction in OpenAI Responses: `POST /responses/compact`. Sans-io.

The response is the conversation in short: messages of the user and an opaque item, with the usage
of the pass that made it. It is not a turn of the model: it has no calls or thoughts to record.
"""

from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.openai_responses import OpenAIResponses


class OpenAIResponsesCompact(OpenAIResponses):
    """Wire format of `POST /responses/compact`."""

    name = "openai_responses_compact"
    tools = None

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request: the whole conversation, in which nothing was typed just now."""
        facts = super().read_request(request)
        nothing_typed = replace(facts, user_texts=(), position=None, correlating_tool_call_id=None)
        return replace(nothing_typed, request_kind="compaction")

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a compacted conversation, or an error."""
        return replace(super().read_whole(body), tool_calls=(), thoughts=())


FORMAT = OpenAIResponsesCompact()
