"""Converse of Amazon Bedrock: `POST /model/{model}/converse` and `…/converse-stream`. Sans-io."""

from collections.abc import Mapping
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
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member

_CONFIG = "inferenceConfig"
_LIMIT = "maxTokens"


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
        """Return the configuration with a lower limit, if it allows more than `most`."""
        config = mapping(member(members, _CONFIG))
        return (
            {_CONFIG: {**config, _LIMIT: most}} if (self.output_limit(members) or 0) > most else {}
        )


FORMAT = BedrockConverse()
