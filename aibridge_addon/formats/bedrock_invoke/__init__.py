"""InvokeModel of Amazon Bedrock: the model's own format in an envelope of AWS. Sans-io.

Claude's bodies are those of Anthropic Messages, without the model, and are read by the same reader.
Of other models, only the counts of tokens are read.
"""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.anthropic_messages import AnthropicMessages
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.bedrock import BedrockFormat, with_path
from aibridge_addon.formats.bedrock_invoke.reader import InvokeReader, read_whole
from aibridge_addon.formats.bedrock_invoke.tools import InvokeTools
from aibridge_addon.formats.bedrock_invoke.view import InvokeView
from aibridge_addon.formats.output_limits import Places, places

_LIMITS: Places = {
    **places("max_tokens", "max_gen_len"),
    **places("maxTokens", "max_new_tokens", within=("inferenceConfig",)),
    **places("maxTokenCount", within=("textGenerationConfig",)),
}
"""Limits in the bodies of Claude and Mistral, Llama, Nova, and Titan."""


class BedrockInvoke(BedrockFormat, AnthropicMessages):
    """Wire format of `POST /model/{model}/invoke` and `…/invoke-with-response-stream`."""

    name = "bedrock_invoke"
    output_limits = _LIMITS
    tools = InvokeTools()
    view = InvokeView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        return with_path(super().read_request(request), request)

    def reader(self) -> InvokeReader:
        """Return a new reader for one streamed response."""
        return InvokeReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a response that was not streamed, or an error."""
        return read_whole(body)


FORMAT = BedrockInvoke()
