"""Converse of Amazon Bedrock: `POST /model/{model}/converse` and `…/converse-stream`. Sans-io."""

from dataclasses import replace

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.bedrock import BedrockFormat, with_path
from aibridge_addon.formats.bedrock_converse.reader import ConverseReader, read_whole
from aibridge_addon.formats.bedrock_converse.request import read_request
from aibridge_addon.formats.bedrock_converse.token_count import counted_request
from aibridge_addon.formats.bedrock_converse.tools import ConverseTools
from aibridge_addon.formats.bedrock_converse.view import ConverseView
from aibridge_addon.formats.bedrock_invoke import FORMAT as INVOKE
from aibridge_addon.formats.output_limits import places
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import count, mapping, member

_MORE = "additionalModelRequestFields"


class BedrockConverse(BedrockFormat):
    """Wire format of Converse, the same for all models."""

    name = "bedrock_converse"
    output_limits = places("maxTokens", within=("inferenceConfig",))
    view = ConverseView()
    tools = ConverseTools()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request, or the request in a request of CountTokens."""
        members = dict(request.members)
        counted = counted_request(members)
        if counted is not None and not counted.is_converse:
            return INVOKE.read_request(replace(request, members=counted.members))
        return with_path(read_request(counted.members if counted else members), request)

    def api_of(self, members: Members) -> str:
        """Return the wire format of a request, or of the request in a request of CountTokens."""
        counted = counted_request(members)
        return self.name if counted is None or counted.is_converse else INVOKE.name

    def reader(self) -> ConverseReader:
        """Return a new reader for one streamed response."""
        return ConverseReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_whole(body)

    def least_output_limit(self, members: Members) -> int:
        """Return the limit above the budget for Claude's thinking."""
        thinking = mapping(mapping(member(members, _MORE)).get("thinking"))
        return (count(thinking.get("budget_tokens")) or 0) + 1


FORMAT = BedrockConverse()
