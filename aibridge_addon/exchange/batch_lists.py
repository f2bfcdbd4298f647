"""Lists of batches: they repeat the state and usage of each, and may be all that a client reads."""

from collections.abc import Awaitable, Callable, Iterator

from aibridge_addon.exchange.passing import PassingExchange, ignore_usage
from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import gemini_batches, openai_batches
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.providers.instance import Provider
from aibridge_addon.raw_json import elements, members
from aibridge_addon.relay.responses import decoded_body

type ReadList = Callable[[Provider, bytes], Awaitable[None]]
"""Records the usage in a list."""


class BatchListExchange(PassingExchange):
    """A request for a list of batches, which is buffered so that it can be read."""

    def __init__(self, passing: PassingExchange, read: ReadList) -> None:
        super().__init__(passing.request, passing.wire_format, count_usage=ignore_usage)
        self._read = read

    def on_head(self) -> None:
        """Buffer the body."""

    async def on_end(self) -> None:
        """Record the usage of the batches in the list."""
        response = self.flow.response
        if response is None or response.stream or response.status_code >= 300:
            return
        try:
            body = decoded_body(response, max_bytes=self.request.max_bytes)
        except UndecodableError:
            return
        await self._read(self.request.route.provider, body)


def batches_in(provider: Provider, body: bytes) -> Iterator[ResponseFacts]:
    """Yield the facts of each batch in a list."""
    is_gemini = provider.type == "gemini"
    wire_format = gemini_batches.FORMAT if is_gemini else openai_batches.FORMAT
    for element in elements((members(body) or {}).get("operations" if is_gemini else "data")):
        facts = wire_format.read_whole(bytes(element))
        if facts.response_id and not facts.unreadable:
            yield facts
