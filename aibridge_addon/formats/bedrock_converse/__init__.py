"""Converse of Amazon Bedrock: `POST /model/{model}/converse` and `…/converse-stream`. Sans-io."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.bedrock import BedrockFormat, with_path
from aibridge_addon.formats.bedrock_converse.reader import ConverseReader, read_whole
from aibridge_addon.formats.bedrock_converse.request import read_request
from aibridge_addon.formats.bedrock_converse.token_count import counted_request
from aibridge_addon.formats.bedrock_converse.tools import ConverseTools
from aibridge_addon.formats.bedrock_converse.view import ConverseView
from aibridge_addon.formats.bedrock_invoke import FORMAT as INVOKE
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member, with_values

_CONFIG = "inferenceConfig"
_LIMIT = "maxTokens"
_MORE = "additionalModelRequestFields"


class BedrockConverse(BedrockFormat):
    """Wire format of Converse, the same for all models."""

    name = "bedrock_converse"
    view = ConverseView()
    tools = ConverseTools()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request, or the request in a request of CountTokens."""
        members = dict(request.members)
        counted = counted_request(members)
        if counted is not None and not counted.is_converse:
            return INVOKE.read_request(replace(request, members=counted.members))
        return with_path(read_request(counted.members if counted else members), request)

    def reader(self) -> ConverseReader:
        """Return a new reader for one streamed response."""
        return ConverseReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_whole(body)

    def output_limit(self, members: Members) -> int | None:
        """Return the most output tokens that a request allows; None if it states no limit."""
        return count(mapping(member(members, _CONFIG)).get(_LIMIT))

    def lower_output_limit(self, members: Members, most: int) -> Mapping[str, JSON]:
        """Lower the limit, which must stay above the budget for Claude's thinking."""
        thinking = mapping(mapping(member(members, _MORE)).get("thinking"))
        most = max(most, (count(thinking.get("budget_tokens")) or 0) + 1)
        if (self.output_limit(members) or 0) <= most:
            return {}
        return {_CONFIG: msgspec.Raw(with_values(bytes(members[_CONFIG]), {_LIMIT: most}))}


FORMAT = BedrockConverse()
